"""What every training begins with: its samples, and a learner with the patches that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.common import distributed
from simtrain.config.resolved import Resolved, ResolvedData
from simtrain.data import windows
from simtrain.data.collection import by_store, open_reader, parts_of
from simtrain.data.dataset import Dataset
from simtrain.data.experiments import SEEN, why_none
from simtrain.data.feeds import Stream, at_once
from simtrain.data.lag_jitter import training_samples
from simtrain.data.moments import find_moments
from simtrain.data.order import epoch_order
from simtrain.data.windows import Windows
from simtrain.models.input import FramePatches
from simtrain.models.masked_learner import MaskedLearner
from simtrain.models.patch_table import kept_table
from simtrain.training.broken_bold import broken_bold
from simtrain.training.run_folder import AnyRun
from simtrain.training.step import AnyLearner

BLOCK = 64  # samples, or fewer where they are long
FITTED_ON = 2048  # samples


def find_samples(used: Windows, config: Resolved) -> tuple[np.ndarray, np.ndarray]:
    """(n,) SAMPLE to train on, and (m,) SAMPLE to validate with.

    Raises
    ------
    UserError
        If there is less than a batch of a store, or the lag's jitter leads before the stimulus.
    """
    data, size = config.data, config.train.batch_size
    found = find_moments(used, data.moments)
    trained = windows.training(found)
    if isinstance(data, ResolvedData):
        samples = training_samples(trained, data)
    else:
        samples = windows.by_hemisphere(trained, data.sides)
    for store, own in zip(parts_of(used.dataset), by_store(samples, used.dataset), strict=True):
        if len(own) < size:
            raise UserError(
                f"{store.path} has {len(own)} training samples at a lag of {data.lag} s, less than a batch "
                f"(train.batch_size: {size}): {why_none(store, [SEEN], 'train')}"
            )
    return samples, windows.by_hemisphere(windows.validation(found), data.sides)


def fit_embedding(
    learner: AnyLearner, samples: np.ndarray, dataset: Dataset, run: AnyRun, shares: np.ndarray
) -> None:
    """Let a patch embedding that has to know training windows look at some, unless the run has weights.

    Parameters
    ----------
    shares : (stores,) of those windows that are of each store
    """
    given = run.checkpoint.exists() or getattr(run.config.model, "init", None) is not None
    if learner.fitted and not given:
        groups, seed = by_store(samples, dataset), run.config.train.seed
        counts = np.ceil(FITTED_ON * shares).astype(int).tolist()
        drawn = np.concatenate([draw(own, most, seed) for own, most in zip(groups, counts, strict=True)])
        length = run.config.data.frames
        try:
            learner.fit(decoded(dataset, drawn, learner.frames, length, learner.device))
        except FloatingPointError:
            large = f"the BOLD of {dataset.path} is too large to compute with"
            distributed.must_suit_all(broken_bold(learner, drawn, dataset, length) or large)


def draw(samples: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of the samples, in their order."""
    return samples[np.sort(epoch_order(len(samples), seed, 0)[:count])]


def decoded(
    dataset: Dataset, samples: np.ndarray, frames: FramePatches, length: int, device: torch.device
) -> Callable[[], Iterator[Tensor]]:
    """What gives the patches of the BOLD of ``samples`` in blocks, (n, patches, vertices of one * frames).

    Parameters
    ----------
    length : s, of a window
    """
    feed, size = Stream(open_reader(dataset), length, device), at_once(BLOCK, length)

    def blocks() -> Iterator[Tensor]:
        parts = ((samples[start : start + size], None) for start in range(0, len(samples), size))
        with feed.batches(parts, size) as batches:
            for batch in batches:
                yield frames.of_samples(batch.samples, batch.stored)

    return blocks


def new_learner(run: AnyRun, make: Callable[[], AnyLearner]) -> AnyLearner:
    """What ``make`` makes, with the random weights of the run's seed and its own order of patches."""
    torch.manual_seed(run.config.train.seed)
    learner, model = make(), run.config.model
    if model.patches is not None:
        decoder = [learner.mae.positions] if isinstance(learner, MaskedLearner) and learner.mae.apart else []
        kept_table(run.path, model.patches, model.ico).lay_out(learner.encoder, *decoder)
    return learner
