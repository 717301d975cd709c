"""Encoding models of every vertex."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.surface.meshes import HEMISPHERES, Mesh
from simtrain.api.arguments import names_in
from simtrain.api.runs import ConfigLike, Overrides, load_config
from simtrain.baselines.encoding_models import EncodingMaps, EncodingModels
from simtrain.common.choices import must_be_one_of
from simtrain.common.device import torch_device
from simtrain.config.composition import DEFAULT_PRESET
from simtrain.data.dataset import Dataset, StoreLike, open_dataset, resolve
from simtrain.data.filters import positions
from simtrain.data.sets import SplitsLike, with_splits
from simtrain.retrieval import figures as pictures
from simtrain.surface import map_files
from simtrain.surface.parcels import Parcels, read_parcels
from simtrain.surface.vertices import MESHES, STORED
from simtrain.training.software import software_versions

DELAYS = (-2, 2)
QUANTILES = (0.5, 0.9, 0.99)


class VertexEncoding:
    """What `encode` returns.

    Attributes
    ----------
    maps : (subject, hemisphere, vertex) float32, Pearson's correlation of predicted and measured BOLD over
        the seconds of test scenes; NaN outside the cortex
    penalty : the same axes, that of each vertex, in units of the mean eigenvalue of X'X
    record : what the models are of, as in the JSON file
    """

    def __init__(self, found: EncodingMaps, record: dict[str, Any]) -> None:
        self.record, self._found = record, found
        coords = {"subject": found.subjects, "hemisphere": list(HEMISPHERES)}
        dims = ("subject", "hemisphere", "vertex")
        self.maps = xr.DataArray(found.r, coords, dims, name="r")
        self.penalty = xr.DataArray(found.penalty, coords, dims, name="penalty")

    @property
    def mean(self) -> xr.DataArray:
        """(hemisphere, vertex): the mean over subjects."""
        return self.maps.mean("subject", skipna=False)

    def save(
        self,
        folder: str | PathLike[str],
        *,
        mesh: str = STORED,
        parcels: dict[str, Parcels] | None = None,
        surfaces: dict[str, Mesh] | None = None,
    ) -> None:
        """Write GIFTI and CIFTI for wb_view, a JSON, and tables by parcel and a picture if given them."""
        title = (
            f"encoding models of {', '.join(self.record['features'])}\n{len(self._found.subjects)} subjects"
        )
        maps = {"mean": self._found.mean} | dict(zip(self._found.subjects, self._found.r, strict=True))
        map_files.write(
            local(folder, "folder"),
            "encoding",
            maps,
            mesh,
            parcels=parcels,
            surfaces=surfaces,
            title=title,
            label="r in test scenes",
            record=self.record,
        )

    def __repr__(self) -> str:
        of, best = ", ".join(self.record["features"]), self.record["r"]["max"]
        return f"<VertexEncoding of {len(self._found.subjects)} subjects by {of}: r to {best:.2f}>"


def encode(
    store: StoreLike,
    out: str | PathLike[str] | None = None,
    *,
    modalities: str | Iterable[str] = "fmri,video",
    config: ConfigLike = DEFAULT_PRESET,
    overrides: Overrides = (),
    delays: tuple[int, int] = DELAYS,
    splits: SplitsLike | None = None,
    subjects: str | Iterable[str] = (),
    mesh: str = STORED,
    parcels: Sequence[str | PathLike[str]] = (),
    figures: bool = False,
    surfaces: Sequence[str | PathLike[str]] = (),
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None,
) -> VertexEncoding:
    """Predict the BOLD of every vertex from the film's embeddings: a ridge regression for each subject.

    Fitted in training scenes and tested in test scenes, whatever set the subject is in; each vertex has the
    penalty that cross-validation over clips of training scenes chooses: see
    `simtrain.baselines.encoding_models`.

    Parameters
    ----------
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    out : str or PathLike[str], optional
        Folder to write to; None: nothing is written.
    modalities : str or iterable of str
        ``fmri`` and the embeddings that predict it, as for `simtrain.fit`; several are put beside each other.
    config, overrides
        As for `simtrain.fit`: lag and hemispheres.
    delays : tuple of int
        First and last s after the lag at which BOLD may follow the beginning of a clip.
    splits : str, PathLike[str] or Splits, optional
        Sets of scenes, as for `simtrain.fit`; None: the store's own.
    subjects : str or iterable of str
        Their ids; none: all that are in a set.
    mesh : {"ico6", "32k", "59k"}
        To write on: ``ico6``, the store's, or HCP's ``32k`` or ``59k``.
    parcels : sequence of str or PathLike[str]
        Files of an atlas on that mesh, for tables: a dlabel.nii, or label.gii of each hemisphere.
    figures : bool
        Write a picture, too; needs matplotlib.
    surfaces : sequence of str or PathLike[str]
        Draw on these surf.gii on that mesh, one of each hemisphere.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    progress : callable
        Called with a subject, its number and the number of subjects.

    Returns
    -------
    VertexEncoding
        Its ``maps`` and ``mean`` are labelled arrays on the store's mesh.

    Raises
    ------
    UserError
        If the store has no training or test scenes that are long enough for the delays, a subject has no runs
        with them, training scenes are of one clip of the film only, or a file is of another mesh.

    Examples
    --------
    >>> found = simtrain.encode(store, delays=(0, 1), subjects=["s5", "s6"], device="cpu")
    >>> found.maps.dims, found.maps.shape
    (('subject', 'hemisphere', 'vertex'), (2, 2, 40962))
    >>> found.record["seconds"]["s5"]
    {'training': 73, 'test': 18}
    """
    must_be_one_of("mesh", mesh, MESHES)
    if delays[0] > delays[1]:
        raise UserError(f"`delays` {delays[0]} to {delays[1]}: the first is later than the last")
    if figures:
        pictures.require()
    folder = None if out is None else local(out, "out")
    on_mesh = map_files.read_surfaces(list(map(Path, surfaces)), mesh)
    atlas = read_parcels(list(map(Path, parcels)), len(on_mesh["L"][0])) if parcels else None
    composed = load_config(config, overrides=overrides, modalities=modalities)
    dataset = with_splits(open_dataset(store), splits)
    resolved = resolve(composed, dataset)
    models = EncodingModels(dataset, resolved, delays, torch_device(device))
    values = models.of(_positions(dataset, names_in(subjects)), progress)
    seconds = dict(zip(values.subjects, values.seconds.tolist(), strict=True))
    record = {
        "features": [embedding.variable for embedding in dataset.embeddings(resolved).values()],
        "columns": values.features,
        "delays": [resolved.data.lag + delay for delay in delays],
        "seconds": {name: {"training": train, "test": test} for name, (train, test) in seconds.items()},
        "r": _summary(values.mean),
        "store": dataset.identity,
        "software": software_versions(),
    }
    found = VertexEncoding(values, record)
    if folder is not None:
        found.save(folder, mesh=mesh, parcels=atlas, surfaces=on_mesh if figures else None)
    return found


def _positions(dataset: Dataset, wanted: Sequence[str]) -> list[int]:
    """Those of these ids, or of all that are in a set and have a run."""
    if wanted:
        return positions("subject", wanted, dataset.subjects, dataset)
    chosen: list[int] = np.flatnonzero((dataset.subject_split > 0) & dataset.complete.any(axis=1)).tolist()
    return chosen


def _summary(mean: np.ndarray) -> dict[str, float]:
    """Quantiles over the cortex."""
    inside = mean[~np.isnan(mean)]
    quantiles = dict(zip(QUANTILES, np.quantile(inside, QUANTILES).tolist(), strict=True))
    return {f"q{100 * q:g}": value for q, value in quantiles.items()} | {"max": float(inside.max())}
