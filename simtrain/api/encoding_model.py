"""Encoding models of every vertex."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.surface.meshes import Mesh
from simtrain.api.arguments import names_in
from simtrain.api.runs import ConfigLike, Overrides, load_config
from simtrain.common.choices import must_be_one_of
from simtrain.common.device import torch_device
from simtrain.config.composition import DEFAULT_PRESET
from simtrain.config.schema import Config
from simtrain.data.dataset import STIMULI, Dataset, StoreLike, open_dataset, resolve
from simtrain.data.experiments import TESTED_SETS, file_of
from simtrain.data.filters import positions
from simtrain.data.places import Places
from simtrain.data.sets import SplitsLike, with_splits
from simtrain.encoding import mixes as sought
from simtrain.encoding.maps import EncodingMaps
from simtrain.encoding.models import MIXES, RIDGES, EncodingModels, EncodingSettings
from simtrain.encoding.shift_null import SHIFTS
from simtrain.retrieval import figures as pictures
from simtrain.surface import map_files
from simtrain.surface.parcels import Parcels, read_parcels
from simtrain.surface.vertices import MESHES, STORED
from simtrain.training.software import software_versions

DELAYS = (-2, 2)
QUANTILES = (0.5, 0.9, 0.99)
LEVEL = 0.05  # of p and q, for the share of vertices that is said
LABELS = {
    "r": "Pearson's r",
    "r2": "R2",
    "p": "p by shifts",
    "q": "false discovery rate",
    "explainable_variance": "explainable variance",
    "normalised_r": "r / sqrt(explainable variance)",
    "shared": "R2 of several",
}


class VertexEncoding:
    """What `encode` returns.

    Attributes
    ----------
    maps : xarray.Dataset of (subject, hemisphere, vertex) float32, NaN outside the cortex, over the seconds
        that the models are tested in: ``r``, Pearson's correlation of predicted and measured BOLD; ``r2``,
        the explained share of its variance; ``p`` of r, by shifts, and ``q``, adjusted for the false
        discovery rate over the subject's vertices; ``explainable_variance`` and ``normalised_r``, where a
        clip is repeated; ``unique_SPACE`` and ``shared``, the parts of ``r2``, if asked for. And ``penalty``
        (subject, feature_space, hemisphere, vertex), in units of the mean eigenvalue of that space's X'X. Of
        a store of parcels, ``parcel`` stands in place of hemisphere and vertex.
    mean : of the same names (hemisphere, vertex), without ``penalty``: means over subjects; ``p`` and ``q``
        of the mean r; ``normalised_r`` of the means
    notes : what could not be worked out, and why
    record : what the models are of, as in the JSON file
    """

    def __init__(self, found: EncodingMaps, record: dict[str, Any], places: Places) -> None:
        self.record, self.notes, self._found, self._places = record, found.notes, found, places
        coords = {"subject": found.subjects, "feature_space": found.spaces, **places.coords}
        maps = {measure: places.variable(values, "subject") for measure, values in found.maps.items()}
        penalty = places.variable(found.penalty, "subject", "feature_space")
        self.maps = xr.Dataset({**maps, "penalty": penalty}, coords)
        means = {measure: places.variable(values) for measure, values in found.means.items()}
        self.mean = xr.Dataset(means, places.coords)

    @property
    def stem(self) -> str:
        """What names of files begin with: ``encoding``, or of validation scenes ``encoding-val``."""
        return file_of("encoding", self.record["split"])

    def save(
        self,
        folder: str | PathLike[str],
        *,
        mesh: str = STORED,
        parcels: dict[str, Parcels] | None = None,
        surfaces: dict[str, Mesh] | None = None,
    ) -> None:
        """Write GIFTI and CIFTI for wb_view, a JSON, and tables by parcel and a picture if given them."""
        of = f"{', '.join(self.record['features'])}\n{len(self._found.subjects)} subjects"
        for measure, mean in self._found.means.items():
            if np.isnan(mean).all():
                continue  # such as a normalised r where no vertex has a signal
            of_subjects = zip(self._found.subjects, self._found.maps[measure], strict=True)
            maps = {"mean": mean, **dict(of_subjects)}
            maps = {name: values for name, values in maps.items() if not np.isnan(values).all()}
            stem = f"{self.stem}.{measure}"
            if self._places.parcels:
                map_files.write_parcel_maps(local(folder, "folder"), stem, maps, self._places.parcels)
            if not self._places.have_mesh:
                json_text.write(local(folder, "folder") / f"{stem}.json", self.record)
                continue
            map_files.write(
                local(folder, "folder"),
                stem,
                {name: self._places.on_mesh(values) for name, values in maps.items()},
                mesh,
                parcels=parcels,
                surfaces=surfaces,
                title=f"encoding models of {of}",
                label=f"{LABELS.get(measure, f'{measure}: R2')}, {self.record['split']} scenes",
                record=self.record,
            )

    def __repr__(self) -> str:
        of, best = ", ".join(self.record["features"]), self.record["r"]["max"]
        return f"<VertexEncoding of {len(self._found.subjects)} subjects by {of}: r to {best:.2f}>"


def encode(
    store: StoreLike,
    out: str | PathLike[str] | None = None,
    *,
    features: str | Iterable[str] = "video",
    ridge: str = "plain",
    mixes: int = MIXES,
    config: ConfigLike = DEFAULT_PRESET,
    overrides: Overrides = (),
    delays: tuple[int, int] = DELAYS,
    splits: SplitsLike | None = None,
    split: str = "test",
    shifts: int = SHIFTS,
    partition: bool = False,
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
    penalties that cross-validation over clips of training scenes chooses: see `simtrain.encoding.models`.

    Parameters
    ----------
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    out : str or PathLike[str], optional
        Folder to write to; None: nothing is written.
    features : str or iterable of str
        The feature spaces that predict BOLD: embeddings by name, such as ``video_clip``, or ``video`` and
        ``audio`` or ``text`` where the store has one of that kind; as a sequence or with commas.
    ridge : {"plain", "banded"}
        One penalty for all feature spaces, or one for each.
    mixes : int
        How many relations of the spaces' penalties banded ridge tries.
    config, overrides
        As for `simtrain.fit`: lag and hemispheres.
    delays : tuple of int
        First and last s after the lag at which BOLD may follow the beginning of a clip.
    splits : str, PathLike[str] or Splits, optional
        Sets of scenes, as for `simtrain.fit`; None: the store's own.
    split : {"test", "val"}
        The set of scenes to test in.
    shifts : int
        By how many random shifts of the film against BOLD p is worked out; 0: no p.
    partition : bool
        Fit models without each of the feature spaces, too, to part R2 into what is unique to each and shared.
    subjects : str or iterable of str
        Their ids; none: all that are in a set.
    mesh : {"ico6", "32k", "59k"}
        To write on: ``ico6``, the store's, or HCP's ``32k`` or ``59k``.
    parcels : sequence of str or PathLike[str]
        Files of an atlas on that mesh, for tables: a dlabel.nii, or label.gii of each hemisphere.
    figures : bool
        Write pictures, too; needs matplotlib.
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
        If the store lacks a feature space, or training or test scenes that are long enough for the delays, a
        subject has no runs with them, training scenes are of one clip of the film only, or a file is of
        another mesh.

    Examples
    --------
    >>> found = simtrain.encode(store, delays=(0, 1), subjects=["s5", "s6"], device="cpu")
    >>> found.maps.r.dims, found.maps.r.shape
    (('subject', 'hemisphere', 'vertex'), (2, 2, 40962))
    >>> found.record["seconds"]["s5"]
    {'training': 73, 'test': 18}
    """
    must_be_one_of("mesh", mesh, MESHES)
    must_be_one_of("split", split, TESTED_SETS)
    if shifts < 0:
        raise UserError(f"`shifts` {shifts}: give how many, or 0 for none")
    if delays[0] > delays[1]:
        raise UserError(f"`delays` {delays[0]} to {delays[1]}: the first is later than the last")
    if figures:
        pictures.require()
    folder = None if out is None else local(out, "out")
    on_mesh = map_files.read_surfaces(list(map(Path, surfaces)), mesh)
    atlas = read_parcels(list(map(Path, parcels)), len(on_mesh["L"][0])) if parcels else None
    dataset = with_splits(open_dataset(store), splits)
    spaces = _spaces(features, load_config(config, overrides=overrides), dataset)
    _must_go_together(ridge, mixes, partition, spaces)
    settings = EncodingSettings(delays, ridge, mixes, split, shifts, partition)
    resolved = resolve(load_config(config, overrides=overrides, modalities=["fmri", *spaces]), dataset)
    models = EncodingModels(dataset, resolved, settings, torch_device(device))
    values = models.of(_positions(dataset, names_in(subjects)), progress)
    seconds = dict(zip(values.subjects, values.seconds.tolist(), strict=True))
    record = {
        "features": values.spaces,
        "columns": values.columns,
        "ridge": ridge,
        **({"mixes": mixes} if ridge == "banded" else {}),
        "delays": [resolved.data.lag + delay for delay in delays],
        "split": split,
        "seconds": {name: {"training": train, "test": test} for name, (train, test) in seconds.items()},
        "notes": values.notes,
        "significant": {
            measure: _significant(values, measure) for measure in ("p", "q") if measure in values.maps
        },
        **{measure: _summary(mean) for measure, mean in values.means.items()},
        "store": dataset.identity,
        "software": software_versions(),
    }
    found = VertexEncoding(values, record, Places.of(dataset))
    if folder is not None:
        found.save(folder, mesh=mesh, parcels=atlas, surfaces=on_mesh if figures else None)
    return found


def _spaces(features: str | Iterable[str], config: Config, dataset: Dataset) -> list[str]:
    """The names in the store of feature spaces."""
    given = features.split(",") if isinstance(features, str) else list(features)
    spaces = [_space(name.strip(), config, dataset) for name in given]
    if not spaces or len(set(spaces)) < len(spaces):
        raise UserError(f"`features` {','.join(given)}: name one or several, and none twice")
    return spaces


def _space(name: str, config: Config, dataset: Dataset) -> str:
    known = dataset.variables
    if name in STIMULI:
        wanted = getattr(config.data, name)
        of_kind = [f"{name}_{wanted}"] if wanted else [one for one in known if one.startswith(f"{name}_")]
        if len(of_kind) > 1:
            raise UserError(
                f"`features` {name}: {dataset.path} has {', '.join(of_kind)}: name one, or several"
            )
        name = of_kind[0] if of_kind else name
    if name not in known:
        listed = ", ".join(known) or "none"
        raise UserError(f"`features` {name}: {dataset.path} has no such embedding; it has: {listed}")
    return name


def _must_go_together(ridge: str, mixes: int, partition: bool, spaces: Sequence[str]) -> None:
    must_be_one_of("ridge", ridge, RIDGES)
    if ridge == "plain" and mixes != MIXES:
        raise UserError(f"`mixes` {mixes}: these are of `ridge` banded, and this one is plain")
    if ridge == "banded" and len(spaces) == 1:
        raise UserError(f"`ridge` banded: `features` has {spaces[0]} alone, and banded ridge needs several")
    if partition and len(spaces) == 1:
        raise UserError(f"`partition`: `features` has {spaces[0]} alone, and parts of R2 are of several")
    if ridge == "banded" and mixes < (least := sought.least_number(len(spaces))):
        raise UserError(f"`mixes` {mixes}: banded ridge of {len(spaces)} spaces needs {least} or more")


def _positions(dataset: Dataset, wanted: Sequence[str]) -> list[int]:
    """Those of these ids, or of all that are in a set and have a run."""
    if wanted:
        return positions("subject", wanted, dataset.subjects, dataset)
    chosen: list[int] = np.flatnonzero((dataset.subject_split > 0) & dataset.complete.any(axis=1)).tolist()
    return chosen


def _summary(mean: np.ndarray) -> dict[str, float]:
    """Quantiles over the cortex."""
    inside = mean[~np.isnan(mean)]
    if not len(inside):
        return {}
    quantiles = dict(zip(QUANTILES, np.quantile(inside, QUANTILES).tolist(), strict=True))
    return {f"q{100 * q:g}": value for q, value in quantiles.items()} | {"max": float(inside.max())}


def _significant(found: EncodingMaps, measure: str) -> dict[str, float]:
    """The share of vertices that is significant, of the mean over subjects and of each."""
    maps = {"mean": found.means[measure], **dict(zip(found.subjects, found.maps[measure], strict=True))}
    return {name: float((values[~np.isnan(values)] <= LEVEL).mean()) for name, values in maps.items()}
