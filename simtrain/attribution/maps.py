"""Which parts of the cortex a trained model relies on: attributions of windows, averaged on the mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from scipy.stats import spearmanr

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.attribution.methods import Attribution, Method
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Stream, at_once
from simtrain.data.windows import HEMISPHERES, by_hemisphere
from simtrain.models.embeddings import must_see
from simtrain.models.learner import Learner
from simtrain.retrieval.selection import by_subject
from simtrain.training.run_folder import FitRun


@dataclass(frozen=True)
class Attributions:
    """Mean attributions on the store's mesh.

    Attributes
    ----------
    subjects : their ids
    windows : how many of each were averaged
    by_head : (subjects, heads, frames, hemispheres, vertices) float32, NaN outside the cortex, and in a
        hemisphere that the model does not see; one in place of heads or frames where the method does not keep
        them apart
    incomplete : of integrated gradients: how far the attributions are from summing to the difference of
        similarity to the baseline's, relative to it, over all windows; else None
    """

    subjects: list[str]
    windows: list[int]
    by_head: np.ndarray
    incomplete: float | None

    @property
    def values(self) -> np.ndarray:
        """(subjects, frames, hemispheres, vertices): the mean over heads."""
        return self.by_head.mean(axis=1)

    @property
    def mean(self) -> np.ndarray:
        """(hemispheres, vertices): the mean over subjects, of the sum over frames."""
        return self.values.mean(axis=0).sum(axis=0)


def compute(
    learner: Learner,
    run: FitRun,
    dataset: Dataset,
    windows: np.ndarray,
    method: Method,
    batch: int = 16,
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None,
) -> Attributions:
    """Attribute ``windows`` (WINDOW) in the model's hemispheres, and average over those of each subject.

    Parameters
    ----------
    learner : the model of ``run``, or one of its shape
    batch : windows of a hemisphere that are on the device at once, or fewer where they are long, which bounds
        memory
    progress : called with the subject, its number and the number of subjects

    Raises
    ------
    UserError
        If embeddings or maps are not finite, or the model makes the same of all windows, or of all clips.
    """
    dataset.must_have_mesh("saliency: a map of the cortex")
    modalities = [] if method.modality is None else [method.modality]
    must_see(learner, dataset, windows, modalities, run.config.data.frames, run.path)
    attribution = Attribution(learner, run.config.model.ico, dataset.cortex.shape[1], method)
    frames = run.config.data.frames
    stream, batch = Stream(BoldReader(dataset.path), frames, learner.device), at_once(batch, frames)
    seen = dataset.cortex & np.isin(np.arange(HEMISPHERES), learner.sides)[:, None]
    subjects, maps = by_subject(windows), []
    for number, own in enumerate(subjects):
        progress(dataset.subjects[own["subject"][0]], number + 1, len(subjects))
        samples = by_hemisphere(own, learner.sides)
        parts = ((samples[start : start + batch], None) for start in range(0, len(samples), batch))
        with stream.batches(parts, batch) as batches:
            total = reduce(torch.add, map(attribution.of_batch, batches)) / len(own)
        maps.append(np.where(seen, total.cpu().numpy(), np.nan).astype(np.float32))
        if not np.isfinite(maps[-1][..., seen]).all():
            raise UserError(
                f"{run.path}: the map of {dataset.subjects[own['subject'][0]]} is not finite: the weights or "
                "this subject's BOLD are damaged"
            )
    ids = [dataset.subjects[own["subject"][0]] for own in subjects]
    return Attributions(ids, [len(own) for own in subjects], np.stack(maps), attribution.incomplete)


def randomised(learner: Learner, run: FitRun, dataset: Dataset, seed: int) -> Learner:
    """The same model with weights as at the start of a training; what is no weight stays.

    What a saliency map owes to the training, it does not share with this one's (Adebayo et al. 2018, arXiv
    1810.03292).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Learner(run.config.as_tested, dataset, dataset.embeddings(run.config))
    fresh.load_state_dict(learner.state_dict() | dict(fresh.named_parameters()))
    fresh.alignment = learner.alignment
    return fresh.to(learner.device).eval()


def correlations(one: np.ndarray, other: np.ndarray, signed: bool) -> dict[str, float]:
    """Spearman's of two maps (hemispheres, vertices) over the cortex, and of their magnitudes if signed."""
    inside = ~np.isnan(one)
    found = {"spearman": float(spearmanr(one[inside], other[inside]).statistic)}
    if signed:
        magnitudes = spearmanr(abs(one[inside]), abs(other[inside]))
        found["spearman_of_magnitudes"] = float(magnitudes.statistic)
    return found
