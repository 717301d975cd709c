"""Maps of the cortex that a model relies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.release.splits_files import SplitsLike
from simdata.surface.meshes import HEMISPHERES, Mesh
from simtrain.api.arguments import RunLike, open_run, set_to_test
from simtrain.attribution.attention_maps import HEADS
from simtrain.attribution.labels import named_maps, record
from simtrain.attribution.maps import Attributions, compute, correlations, randomised
from simtrain.attribution.methods import Method, modality_of
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.common.device import torch_device
from simtrain.data.dataset import StoreLike, open_dataset
from simtrain.data.experiments import EXPERIMENTS, SET_NAMES, file_of
from simtrain.retrieval import figures as pictures
from simtrain.retrieval.selection import Selection
from simtrain.surface import map_files
from simtrain.surface.parcels import Parcels, means, read_parcels
from simtrain.surface.vertices import MESHES, STORED
from simtrain.training.checkpoint import CHECKPOINTS
from simtrain.training.trained_model import load_learner

ANY = "any"


class Saliency:
    """What `saliency` returns.

    Attributes
    ----------
    folder : where `saliency` writes them
    maps : (subject, frame, hemisphere, vertex) float32, each subject's mean over windows on the store's mesh;
        NaN outside the cortex, and in a hemisphere that the model does not see; a single frame where the
        method does not tell them apart
    by_head : (subject, head, frame, hemisphere, vertex), whose mean over heads is ``maps``, if asked for
    random : the same as ``maps`` of random weights, if asked for
    alike : Spearman's correlation of the mean map with that of random weights, if asked for
    windows : subject -> how many windows were averaged
    incomplete : of integrated gradients: how far they are from summing to the difference in similarity to the
        baseline's, relative to it; else None
    record : what the maps are of, as in the JSON file
    """

    def __init__(
        self,
        folder: Path,
        found: Attributions,
        random: Attributions | None,
        method: Method,
        record: dict[str, Any],
    ) -> None:
        self.folder = folder
        self._found, self._random, self.method, self.record = found, random, method, record
        self.maps = _labelled(found, found.values, ("frame",), method)
        self.by_head = _labelled(found, found.by_head, ("head", "frame"), method) if method.by_head else None
        self.random = None if random is None else _labelled(random, random.values, ("frame",), method)
        self.alike: dict[str, float] = {}
        if random is not None:
            self.alike = correlations(found.mean, random.mean, method.signed)
        self.windows = dict(zip(found.subjects, found.windows, strict=True))
        self.incomplete = found.incomplete

    @property
    def mean(self) -> xr.DataArray:
        """(hemisphere, vertex): the mean over subjects, of the sum over frames."""
        return (
            self.maps.mean("subject", skipna=False).sum("frame", skipna=False).assign_attrs(self.maps.attrs)
        )

    def save(
        self,
        folder: str | PathLike[str],
        *,
        mesh: str = STORED,
        by_frame: bool = False,
        parcels: dict[str, Parcels] | None = None,
        surfaces: dict[str, Mesh] | None = None,
        title: str = "",
    ) -> None:
        """Write GIFTI and CIFTI for wb_view, a JSON, and tables by parcel and a picture if given them."""
        map_files.write(
            local(folder, "folder"),
            self.method.stem,
            self._named(by_frame),
            mesh,
            parcels=parcels,
            surfaces=surfaces,
            title=title,
            label=self.method.unit,
            record=self.record,
        )

    def by_parcel(
        self, parcels: Sequence[str | PathLike[str]], *, mesh: str = STORED, by_frame: bool = False
    ) -> pd.DataFrame:
        """The mean of each map that `save` writes over each parcel of an atlas: a row a map, as in its TSV.

        Parameters
        ----------
        parcels : sequence of str or PathLike[str]
            Files of an atlas, as for `saliency`.
        mesh : {"ico6", "32k", "59k"}
            That the atlas is on.
        by_frame : bool
            Also of each frame.
        """
        must_be_one_of("mesh", mesh, MESHES)
        maps = self._named(by_frame)
        values = map_files.resampled(maps, mesh)
        found = means(values, read_parcels(list(map(Path, parcels)), values["L"].shape[1]))
        return pd.DataFrame(found, index=pd.Index(maps, name="map"))

    def _named(self, by_frame: bool) -> map_files.Maps:
        return named_maps(self._found, self._random, by_frame, self.method.by_head)

    def __repr__(self) -> str:
        count = sum(self.windows.values())
        return f"<Saliency by {self.method}: {len(self.windows)} subjects, {count} windows>"


def saliency(
    run: RunLike,
    store: StoreLike,
    *,
    method: str = "integrated-gradients",
    modality: str | None = None,
    heads: str = Method.heads,
    block: int | None = Method.block,
    by_head: bool = Method.by_head,
    steps: int = Method.steps,
    by_vertex: bool = Method.by_vertex,
    absolute: bool = Method.absolute,
    experiment: str = "new-subjects",
    split: str | None = None,
    subjects: Sequence[str] = (),
    movie: str | None = None,
    seconds: range | None = None,
    windows: int | None = None,
    batch_size: int = 16,
    by_frame: bool = False,
    randomise: bool = False,
    seed: int = 0,
    mesh: str = STORED,
    parcels: Sequence[str | PathLike[str]] = (),
    figures: bool = False,
    surfaces: Sequence[str | PathLike[str]] = (),
    splits: SplitsLike | None = None,
    checkpoint: str = CHECKPOINTS[0],
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None,
    save: bool = True,
    out: str | PathLike[str] | None = None,
) -> Saliency:
    """Map the parts of the cortex that a trained model relies on.

    Parameters
    ----------
    run : str, PathLike[str] or object with a ``path``
        Folder of a run of `simtrain fit`, or an object whose ``path`` is one.
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    method : {"integrated-gradients", "gradient", "sensitivity", "rollout", "attention"}
        Of the similarity to the true clip: ``integrated-gradients`` (Sundararajan et al. 2017, arXiv
        1703.01365), ``gradient`` times input, or ``sensitivity``, the gradient's magnitude; or attention:
        ``rollout`` through all blocks (Abnar & Zuidema 2020, arXiv 2005.00928), ``attention`` of one.
    modality : str, optional
        Whose similarity gradients explain, such as ``video``; None: the run's first.
    heads : {"mean", "max", "min"}
        How attention's heads become one.
    block : int, optional
        Of the encoder, whose ``attention`` it is, from 0; None: the last.
    by_head : bool
        Of ``attention``: write a map of each head, too.
    steps : int
        Points of the integral of integrated gradients.
    by_vertex : bool
        Gradients of each vertex, noisier than the mean of a patch.
    absolute : bool
        Average magnitudes: of what speaks against the clip, too.
    experiment : str
        Whose windows: ``new-subjects``, ``new-scenes``, ``both``, or ``any``, also those trained on.
    split : {"test", "val"}, optional
        The set of the experiment's subjects and scenes; None: test. Not of ``any``, which is of all sets.
    subjects : sequence of str
        Their ids; none: all.
    movie : str, optional
        Its name; None: all.
    seconds : range, optional
        Of the run, at which the stimulus clips begin.
    windows : int, optional
        At most so many of each subject, spread evenly.
    batch_size : int
        Windows in memory at once.
    by_frame : bool
        Write a map of each frame of the windows, too.
    randomise : bool
        Also with random weights, and how like that is (Adebayo et al. 2018, arXiv 1810.03292).
    seed : int
        Of the random weights.
    mesh : {"ico6", "32k", "59k"}
        To write on: ``ico6``, the store's, or HCP's ``32k`` or ``59k``.
    parcels : sequence of str or PathLike[str]
        Files of an atlas on that mesh, for tables: a dlabel.nii, or label.gii of each hemisphere.
    figures : bool
        Write a picture, too; needs matplotlib.
    surfaces : sequence of str or PathLike[str]
        Draw on these surf.gii on that mesh, one of each hemisphere.
    splits : str, PathLike[str], dict or Splits, optional
        Sets of subjects and scenes in place of those of the run's training, as for `simtrain.fit`, or
        ``store``, its own; a part that they leave out is the run's.
    checkpoint : {"best", "last"}
        Test the weights that were best by validation, if the run kept any, or the last.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    progress : callable
        Called with a subject, its number and the number of subjects.
    save : bool
        Write files, as `simtrain saliency` does.
    out : str or PathLike[str], optional
        Folder to write them to; None: the folder saliency of the run, of val saliency-val.

    Returns
    -------
    Saliency
        Its ``maps`` and ``mean`` are labelled arrays on the store's mesh.

    Raises
    ------
    UserError
        If the run has no model yet or does not fit the store, there are no such windows, subjects that should
        be new are not, a file is of another mesh, or maps are not finite.

    Examples
    --------
    >>> few = {"windows": 2, "steps": 4, "device": "cpu", "out": out}
    >>> found = simtrain.saliency(run, store, modality="video", **few)
    >>> found
    <Saliency by integrated-gradients, of video: 2 subjects, 4 windows>
    >>> found.mean.dims, found.mean.shape
    (('hemisphere', 'vertex'), (2, 40962))
    >>> found.maps.sel(subject="s5").sizes["frame"]
    3
    """
    must_be_one_of("experiment", experiment, (*EXPERIMENTS, ANY))
    if experiment == ANY and split is not None:
        raise UserError(f"`split` {split} with `experiment` {ANY}: that is of all sets")
    tested = set_to_test(split, experiment, to_choose=False)
    must_be_one_of("mesh", mesh, MESHES)
    must_be_one_of("heads", heads, HEADS)
    for name, value in {"steps": steps, "windows": windows, "batch_size": batch_size}.items():
        if value is not None:
            must_be_at_least(name, value, 1)
    if figures:
        pictures.require()
    trained = open_run(run, checkpoint)
    dataset = trained.divided(open_dataset(store), splits)
    folder = trained.path / file_of("saliency", tested) if out is None else local(out, "out")
    on_mesh = map_files.read_surfaces(list(map(Path, surfaces)), mesh)
    atlas = read_parcels(list(map(Path, parcels)), len(on_mesh["L"][0])) if parcels else None
    explained = modality_of(trained, method, modality)
    unit = trained.config.as_tested.data.unit
    how = Method(method, explained, heads, block, by_head, steps, by_vertex, absolute, unit)
    how.must_suit(trained.config, by_frame)
    which = Selection(
        None if experiment == ANY else experiment, tested, tuple(subjects), movie, seconds, windows
    )
    chosen = which.windows(trained, dataset)
    learner = load_learner(trained, dataset, torch_device(device))
    values = compute(learner, trained, dataset, chosen, how, batch_size, progress)
    content, random = record(trained, dataset, how, which, values), None
    if randomise:
        fresh = randomised(learner, trained, dataset, seed)
        random = compute(fresh, trained, dataset, chosen, how, batch_size)
    found = Saliency(folder, values, random, how, content)
    if randomise:
        content["random_weights"] = {"seed": seed, **found.alike}
    if save:
        of_set = "" if experiment == ANY else f", {SET_NAMES[tested]}"
        averaged = f"{experiment}{of_set}, {len(found.windows)} subjects, {len(chosen)} windows"
        title = f"{trained.path.name}: {how}\n{averaged}"
        drawn = on_mesh if figures else None
        found.save(folder, mesh=mesh, by_frame=by_frame, parcels=atlas, surfaces=drawn, title=title)
    return found


def _labelled(
    found: Attributions, values: np.ndarray, between: tuple[str, ...], method: Method
) -> xr.DataArray:
    """Values (subject, ``between``, hemisphere, vertex)."""
    coords = {"subject": found.subjects, "hemisphere": list(HEMISPHERES)}
    attrs = {"units": method.unit, "method": str(method)}
    dims = ("subject", *between, "hemisphere", "vertex")
    return xr.DataArray(values, coords, dims, name="saliency", attrs=attrs)
