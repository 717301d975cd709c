"""What a pretrained model makes of held-out windows, as surface maps to look at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.surface.meshes import HEMISPHERES
from simtrain.common.finite import COLLAPSED, CONSTANT
from simtrain.data import windows
from simtrain.data.dataset import Dataset
from simtrain.models.masked_learner import Filled, MaskedLearner
from simtrain.surface.gifti import write_series, write_sphere
from simtrain.training import checkpoint
from simtrain.training.pretraining import VALIDATION
from simtrain.training.run_folder import PretrainRun


class Maps(NamedTuple):
    """Windows of BOLD as the model sees it: (batch, frames, vertices) float32, 0 outside the cortex.

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
    run: PretrainRun, dataset: Dataset, folder: Path, count: int, device: torch.device
) -> list[Written]:
    """Reconstruct ``count`` windows of validation, spread over subjects and films, in each hemisphere in use.

    Writes to ``folder`` the spheres, and for each window and hemisphere three func.gii (`Maps`) named
    such as ``100610.MOVIE1.s123.L.masked.func.gii``, s123 being the second of the first frame.

    Raises
    ------
    UserError
        If the run has no model yet, does not fit the store, or its predictions are not finite or do not vary
        over the cortex; or if the store has no held-out windows. Nothing is written then.
    """
    dataset.must_have_mesh("a reconstruction on the surface")
    learner = load_learner(run, dataset, device)
    found = windows.validation(windows.Windows.of(dataset, run.config).find())
    if not len(found):
        raise UserError(f"{dataset.path} has no windows of validation: see `simdata info` for its sets")
    chosen = found[np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
    reader, labels = BoldReader(dataset.path), _labels(dataset, chosen)
    filled = [_reconstruct(learner, reader, window, run) for window in chosen]
    _must_vary([maps for of_window in filled for maps in of_window], run)
    folder.mkdir(parents=True, exist_ok=True)
    for hemisphere in HEMISPHERES:
        write_sphere(folder / f"{hemisphere}.sphere.surf.gii", hemisphere)
    return [
        _write(maps, HEMISPHERES[side], folder / label)
        for label, of_window in zip(labels, filled, strict=True)
        for side, maps in zip(run.config.data.sides, of_window, strict=True)
    ]


def load_learner(run: PretrainRun, dataset: Dataset, device: torch.device) -> MaskedLearner:
    """The pretrained model of a run, for evaluation."""
    if not run.checkpoint.exists():
        raise UserError(f"{run.path} has no checkpoint yet: train it with `simtrain pretrain`")
    run.must_suit(dataset)
    learner = MaskedLearner(run.config, dataset)
    learner.load_state_dict(checkpoint.load_tested(run.tested)["learner"])
    return learner.to(device).eval()


def maps_of(learner: MaskedLearner, filled: Filled) -> Maps:
    """Values of patches, brought to the mesh."""
    predicted = filled.predicted.float()
    if filled.scale is not None:
        # As He et al. show theirs: the patch's own mean and s.d. are given back to the prediction.
        predicted = predicted * filled.scale.deviation + filled.scale.mean
    everything = torch.ones_like(filled.counted)
    original, _ = learner.on_surface(filled.values, everything)
    filling, _ = learner.on_surface(predicted, filled.counted)
    _, unseen = learner.on_surface(predicted, learner.unseen(filled))
    unseen = unseen > 0
    maps = (original, torch.where(unseen, 0.0, original), torch.where(unseen, filling, original), unseen)
    return Maps(*(values.transpose(1, 2) for values in maps))


@torch.no_grad()
def _reconstruct(
    learner: MaskedLearner, reader: BoldReader, window: np.void, run: PretrainRun
) -> list[list[np.ndarray]]:
    """(frames, vertices) of each field of `Maps`, in every hemisphere in use."""
    samples = windows.by_hemisphere(np.atleast_1d(window), run.config.data.sides)
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    stored = torch.from_numpy(reader.read(index, run.config.data.frames)).to(learner.device)
    mask = learner.mask(samples, run.config.train.seed, VALIDATION)
    maps = [part.cpu().numpy() for part in maps_of(learner, learner.fill(samples, stored, mask))]
    return [list(parts) for parts in zip(*maps, strict=True)]


def _write(maps: list[np.ndarray], hemisphere: str, stem: Path) -> Written:
    *parts, unseen = maps
    name = f"{stem.name}.{hemisphere}"
    for kind, values in zip(Maps._fields, parts, strict=False):
        write_series(stem.with_name(f"{name}.{kind}.func.gii"), values, hemisphere)
    original, _, reconstruction = parts
    return Written(name, float(np.corrcoef(original[unseen], reconstruction[unseen])[0, 1]))


def _must_vary(found: list[list[np.ndarray]], run: PretrainRun) -> None:
    """Refuse predictions and truths that have no correlation."""
    for original, _, reconstruction, unseen in found:
        for what, values in (("BOLD", original[unseen]), ("prediction", reconstruction[unseen])):
            if not np.isfinite(values).all():
                raise UserError(f"{run.path}: the {what} of a window is not finite. {COLLAPSED}")
            if np.ptp(values) <= CONSTANT * np.abs(values).max():
                raise UserError(
                    f"{run.path}: the {what} of a window is the same at all {len(values):,} vertices that no "
                    f"visible patch shows, so that it has no correlation. {COLLAPSED}"
                )


def _labels(dataset: Dataset, chosen: np.ndarray) -> list[str]:
    return [
        f"{dataset.subjects[window['subject']]}.{dataset.movies[window['movie']]}.s{window['second']}"
        for window in chosen
    ]
