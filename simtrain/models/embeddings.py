"""The embeddings that a model gives of windows of BOLD: shared by retrieval, prediction and baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.common.finite import must_tell_apart
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Stream, at_once
from simtrain.data.windows import by_hemisphere
from simtrain.models.learner import Learner

BATCH = 64  # windows embedded at once, or fewer where they are long
LOOKED_AT = 64  # windows, to see whether a model tells any apart


def embed_fmri(learner: Learner, reader: BoldReader, windows: np.ndarray, frames: int) -> np.ndarray:
    """(n, dim) float32: the mean over the model's hemispheres of their embeddings, of unit length."""
    return mean_of_hemispheres(embed_hemispheres(learner, reader, windows, frames))


def units_of(hemispheres: str, own: tuple[str, ...]) -> tuple[str, ...]:
    """What a window is tested by: ``mean``, or the names of hemispheres.

    Parameters
    ----------
    hemispheres : ``mean``, ``each``, ``L`` or ``R``
    own : names of those that the model has

    Raises
    ------
    UserError
        If the model lacks the one that is asked for.
    """
    if hemispheres == "each":
        return own
    if hemispheres != "mean" and hemispheres not in own:
        raise UserError(f"`hemispheres` {hemispheres}: the model is of {', '.join(own)} alone")
    return (hemispheres,)


def embed_units(
    learner: Learner, reader: BoldReader, units: Sequence[str], windows: np.ndarray, frames: int
) -> np.ndarray:
    """(n, units, dim) float32 of unit length: what `units_of` says, of each window."""
    return in_units(embed_hemispheres(learner, reader, windows, frames), units, learner.side_names)


def in_units(embedded: np.ndarray, units: Sequence[str], own: Sequence[str]) -> np.ndarray:
    """(n, units, dim) of the embeddings (n, hemispheres, dim) of hemispheres of these names."""
    if units == ("mean",):
        return mean_of_hemispheres(embedded)[:, None]
    return embedded[:, [own.index(unit) for unit in units]]


@torch.no_grad()
def embed_hemispheres(learner: Learner, reader: BoldReader, windows: np.ndarray, frames: int) -> np.ndarray:
    """(n, hemispheres, dim) float32 of unit length: the embedding of each that the model has, L first."""
    samples = by_hemisphere(windows, learner.sides)
    size = len(learner.sides) * at_once(BATCH, frames)
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
