"""A run's model, and the embeddings that it gives: shared by retrieval and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize

from simdata.errors import UserError
from simdata.store import BoldReader
from simtrain import checkpoint
from simtrain.dataset import Dataset
from simtrain.feeds import Stream
from simtrain.finite import must_tell_apart
from simtrain.learner import Learner
from simtrain.run import Run
from simtrain.windows import by_hemisphere

BATCH = 64  # windows embedded at once
LOOKED_AT = 64  # windows, to see whether a model tells any apart


def load_learner(run: Run, dataset: Dataset, device: torch.device) -> Learner:
    """The trained model of a run, ready to embed windows and clips of a store.

    Raises
    ------
    UserError
        If the run has no model yet, its weights are not finite, or it does not fit the store.
    """
    if not run.checkpoint.exists():
        raise UserError(f"{run.path} has no checkpoint yet: train it with `simtrain fit`")
    run.must_suit(dataset)
    learner = Learner(run.config, dataset, dataset.embeddings(run.config))
    state = checkpoint.load_tested(run.checkpoint)
    run.must_have_projectors(state["step"])
    try:
        learner.load_state_dict(state["learner"])
    except RuntimeError as error:
        raise UserError(f"{run.path} does not fit {dataset.path}: {error}") from None
    if not 0 < (temperature := learner.loss.temperature) < math.inf:
        raise UserError(f"{run.path} has a temperature of {temperature}: {checkpoint.USELESS}")
    return learner.to(device).eval()


def embed_fmri(learner: Learner, reader: BoldReader, windows: np.ndarray, frames: int) -> np.ndarray:
    """(n, dim) float32: the mean over the model's hemispheres of their embeddings, of unit length."""
    return mean_of_hemispheres(embed_hemispheres(learner, reader, windows, frames))


@torch.no_grad()
def embed_hemispheres(learner: Learner, reader: BoldReader, windows: np.ndarray, frames: int) -> np.ndarray:
    """(n, hemispheres, dim) float32 of unit length: the embedding of each that the model has, L first."""
    samples = by_hemisphere(windows, learner.sides)
    size = len(learner.sides) * BATCH
    parts = ((samples[start : start + size], None) for start in range(0, len(samples), size))
    with Stream(reader, frames, learner.device).batches(parts, size) as batches:
        embedded = torch.cat([learner.embed_fmri(batch.samples, batch.stored).float() for batch in batches])
    return embedded.view(len(windows), len(learner.sides), -1).cpu().numpy()


def mean_of_hemispheres(embedded: np.ndarray) -> np.ndarray:
    """(n, hemispheres, dim) -> (n, dim), of unit length."""
    return normalize(torch.from_numpy(embedded).mean(dim=1), dim=-1).numpy()


@torch.no_grad()
def must_see(
    learner: Learner,
    dataset: Dataset,
    windows: np.ndarray,
    modalities: Sequence[str],
    frames: int,
    source: object,
) -> None:
    """Refuse a model that makes the same of some ``windows`` (WINDOW) and of no BOLD, or of all clips.

    Parameters
    ----------
    modalities : of the stimulus
    source : what the message begins with

    Raises
    ------
    UserError
        If it does, or an embedding is not finite.
    """
    some = windows[np.linspace(0, len(windows) - 1, min(LOOKED_AT, len(windows))).round().astype(int)]
    if not len(some):
        return
    patches, vertices = learner.frames.shape
    blank = learner.sim.embed_fmri(torch.zeros(1, patches, vertices * frames, device=learner.device))
    vectors = embed_fmri(learner, BoldReader(dataset.path), some, frames)
    vectors = np.concatenate([vectors, blank.float().cpu().numpy()])
    must_tell_apart(vectors, "fmri", "windows, one of no BOLD,", source)
    clips = np.unique(windows[["movie", "clip"]])
    embedded = learner.embed_clips(clips["movie"], clips["clip"])
    for modality in modalities:
        must_tell_apart(embedded[modality].float().cpu().numpy(), modality, "clips", source)
