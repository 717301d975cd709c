"""What a pretrained model makes of held-out windows, as surface maps to look at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from simdata.errors import UserError
from simdata.meshes import HEMISPHERES
from simdata.store import BoldReader
from simtrain import checkpoint, windows
from simtrain.dataset import Dataset
from simtrain.gifti import write_series, write_sphere
from simtrain.pretraining import VALIDATION, Filled, MaskedLearner, find_windows
from simtrain.run import Run


class Maps(NamedTuple):
    """Windows of BOLD, z-scored per frame: (batch, frames, vertices) float32, 0 outside the cortex.

    Attributes
    ----------
    original : as the model was to predict it
    masked : 0 where no visible patch shows the vertex
    reconstruction : predicted there, the mean of the patches that meet in a vertex; elsewhere the original
    unseen : bool, there and in the cortex
    """

    original: Tensor
    masked: Tensor
    reconstruction: Tensor
    unseen: Tensor


class Written(NamedTuple):
    """A window of a hemisphere, and the correlation (r) of prediction and truth over what was unseen."""

    name: str
    correlation: float


def write_reconstructions(
    run: Run, dataset: Dataset, folder: Path, count: int, device: torch.device
) -> list[Written]:
    """Reconstruct ``count`` windows of validation, spread over subjects and films, in each hemisphere in use.

    Writes to ``folder`` the spheres, and for each window and hemisphere three func.gii (`Maps`) named
    such as ``100610.MOVIE1.s123.L.masked.func.gii``, s123 being the second of the first frame.

    Raises
    ------
    UserError
        If the run has no model yet, does not fit the store, or the store has no held-out windows.
    """
    learner = load_learner(run, dataset, device)
    found = windows.validation(find_windows(dataset, run.config))
    if not len(found):
        raise UserError(f"{dataset.path} has no windows of validation: see `simdata info` for its sets")
    chosen = found[np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
    folder.mkdir(parents=True, exist_ok=True)
    for hemisphere in HEMISPHERES:
        write_sphere(folder / f"{hemisphere}.sphere.surf.gii", hemisphere)
    reader = BoldReader(dataset.path)
    written = []
    for window, label in zip(chosen, _labels(dataset, chosen), strict=True):
        written += _write(learner, reader, window, run, folder / label)
    return written


def load_learner(run: Run, dataset: Dataset, device: torch.device) -> MaskedLearner:
    """The pretrained model of a run, for evaluation."""
    if not run.checkpoint.exists():
        raise UserError(f"{run.path} has no checkpoint yet: train it with `simtrain pretrain`")
    run.must_suit(dataset)
    learner = MaskedLearner(run.config, dataset.cortex)
    learner.load_state_dict(checkpoint.load_tested(run.checkpoint)["learner"])
    return learner.to(device).eval()


def maps_of(learner: MaskedLearner, filled: Filled) -> Maps:
    """From patches to the mesh."""
    predicted = filled.predicted.float()
    if filled.mean is not None:
        # As He et al. show theirs: the patch's own mean and s.d. are given back to the prediction.
        predicted = predicted * filled.deviation + filled.mean
    everything = torch.ones_like(filled.counted)
    original, _ = learner.on_surface(filled.values, everything)
    filling, _ = learner.on_surface(predicted, filled.counted)
    _, unseen = learner.on_surface(predicted, learner.unseen(filled))
    unseen = unseen > 0
    maps = (original, torch.where(unseen, 0.0, original), torch.where(unseen, filling, original), unseen)
    return Maps(*(values.transpose(1, 2) for values in maps))


@torch.no_grad()
def _write(
    learner: MaskedLearner, reader: BoldReader, window: np.void, run: Run, stem: Path
) -> list[Written]:
    sides = run.config.data.sides
    samples = windows.by_hemisphere(np.atleast_1d(window), sides)
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    stored = torch.from_numpy(reader.read(index, run.config.data.frames)).to(learner.device)
    mask = learner.mask(samples, run.config.train.seed, VALIDATION)
    maps = [part.cpu().numpy() for part in maps_of(learner, learner.fill(samples, stored, mask))]
    written = []
    for side, *parts, unseen in zip(sides, *maps, strict=True):
        hemisphere = HEMISPHERES[side]
        name = f"{stem.name}.{hemisphere}"
        for kind, values in zip(Maps._fields, parts, strict=False):
            write_series(stem.with_name(f"{name}.{kind}.func.gii"), values, hemisphere)
        original, _, reconstruction = parts
        written.append(Written(name, float(np.corrcoef(original[unseen], reconstruction[unseen])[0, 1])))
    return written


def _labels(dataset: Dataset, chosen: np.ndarray) -> list[str]:
    with xr.open_zarr(dataset.path) as store:
        movies = store.movie.values
    return [
        f"{dataset.subjects[window['subject']]}.{movies[window['movie']]}.s{window['second']}"
        for window in chosen
    ]
