"""PCA of cortical windows with SIM's projectors on top: SIM without the surface transformer.

The axes are fitted by subspace iteration with oversampling (Halko, Martinsson & Tropp 2011, SIAM Review 53,
arXiv 0909.4061): a few passes over the windows, with no more than a batch of them in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.resolved import ResolvedConfig, ResolvedData
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.feeds import Stream
from simtrain.data.lag_jitter import training_samples
from simtrain.data.order import Cursor, epoch_order, shuffled_batches
from simtrain.data.windows import by_hemisphere
from simtrain.models.input import FramePatches
from simtrain.models.learner import Learner
from simtrain.models.sim import SIM
from simtrain.training.checkpoint import tested_weights
from simtrain.training.contrastive import ContrastiveTraining

PASSES = 4
OVERSAMPLE = 16
BATCH = 64  # samples


@dataclass(frozen=True)
class Axes:
    """The main axes of some rows.

    Attributes
    ----------
    mean : (d,)
    axes : (k, d), orthonormal
    variance : (k,) along each (ddof 1)
    share : of the variance of the rows that the axes explain
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    share: float


class Components(nn.Module):
    """Takes the place of the surface transformer: windows -> scores on main axes, with unit variance."""

    mean: Tensor
    axes: Tensor
    deviation: Tensor

    def __init__(self, axes: Axes) -> None:
        super().__init__()
        self.register_buffer("mean", axes.mean)
        self.register_buffer("axes", axes.axes)
        self.register_buffer("deviation", axes.variance.sqrt().clamp(min=1e-12))

    def forward(self, patches: Tensor) -> Tensor:
        """(batch, k) float32 from (batch, 1, d)."""
        with torch.autocast(patches.device.type, enabled=False):
            return (patches.flatten(1) - self.mean) @ self.axes.T / self.deviation


class PcaLearner(Learner):
    """A learner whose fMRI encoder is a fixed `Components`; projectors and loss are SIM's."""

    def __init__(
        self, config: ResolvedConfig, dataset: Dataset, embeddings: Mapping[str, Embedding], axes: Axes
    ) -> None:
        super().__init__(config, dataset, dict(embeddings))
        self.frames = whole_hemisphere(dataset)
        features = {"fmri": len(axes.axes)}
        features |= {modality: embedding.values.shape[-1] for modality, embedding in embeddings.items()}
        self.sim = SIM(Components(axes), features, config.projector.dim, config.projector.dropout)


def whole_hemisphere(dataset: Dataset) -> FramePatches:
    """z-scored frames with all vertices as one patch."""
    return FramePatches(dataset.cortex, np.arange(dataset.cortex.shape[1])[None])


def fit_axes(
    dataset: Dataset,
    windows: np.ndarray,
    data: ResolvedData,
    *,
    components: int,
    samples: int,
    seed: int,
    device: torch.device,
) -> Axes:
    """Main axes of ``samples`` of the windows, drawn by ``seed`` from all hemispheres (R mirrored on L)."""
    candidates = by_hemisphere(windows, data.sides)
    chosen = np.sort(epoch_order(len(candidates), seed, 0)[:samples])
    drawn = candidates[chosen]
    decode = whole_hemisphere(dataset).to(device)
    feed = Stream(BoldReader(dataset.path), data.frames, device)

    def blocks() -> Iterator[Tensor]:
        parts = ((drawn[start : start + BATCH], None) for start in range(0, len(drawn), BATCH))
        with feed.batches(parts, BATCH) as batches:
            for batch in batches:
                hemisphere = torch.from_numpy(batch.samples["hemisphere"].astype(np.int64)).to(device)
                yield decode(batch.stored, hemisphere).flatten(1)

    return main_axes(blocks, components, seed)


@torch.no_grad()
def main_axes(blocks: Callable[[], Iterable[Tensor]], components: int, seed: int = 0) -> Axes:
    """PCA of rows that come in blocks (n, d), as often as they are asked for.

    Fewer components than asked for, if there are fewer rows.

    Raises
    ------
    UserError
        If the rows are not finite, or do not vary.
    """
    count, mean = _mean(blocks())
    rank = min(components + OVERSAMPLE, count - 1, len(mean))
    start = torch.randn(len(mean), rank, generator=torch.Generator().manual_seed(seed), dtype=mean.dtype)
    basis = torch.linalg.qr(start.to(mean.device))[0]
    for _ in range(PASSES):
        image = torch.zeros_like(basis)
        for block in blocks():
            centred = block - mean
            image += centred.T @ (centred @ basis)
        basis = torch.linalg.qr(image)[0]
    gram, power = torch.zeros(rank, rank, dtype=mean.dtype, device=mean.device), 0.0
    for block in blocks():
        scores = (block - mean) @ basis
        gram += scores.T @ scores
        power += float((block - mean).square().sum())
    if not 0 < power < math.inf:
        raise UserError("pca: the BOLD of the training windows is not finite, or the same in all of them")
    values, vectors = torch.linalg.eigh(gram)
    main = torch.arange(rank - 1, max(rank - 1 - components, -1), -1, device=mean.device)
    found = values[main].clamp(min=0)
    axes = (basis @ vectors[:, main]).T.contiguous()
    return Axes(mean, axes, found / (count - 1), float(found.sum()) / power)


def _mean(blocks: Iterable[Tensor]) -> tuple[int, Tensor]:
    """Number of rows, and their mean (d,)."""
    sums = ((len(block), block.sum(dim=0)) for block in blocks)
    count, total = reduce(lambda one, other: (one[0] + other[0], one[1] + other[1]), sums)
    return count, total / count


def train_head(
    config: ResolvedConfig,
    dataset: Dataset,
    embeddings: Mapping[str, Embedding],
    clips: np.ndarray,
    windows: np.ndarray,
    axes: Axes,
    device: torch.device,
) -> PcaLearner:
    """Train the projectors on training windows, as `simtrain fit` trains SIM, for ``train.steps`` steps.

    Raises
    ------
    UserError
        If there are too few windows for a batch, training is to stop early, or it diverges.
    """
    if config.train.patience is not None:
        raise UserError("train.patience: PCA's projectors are trained without validation; set it to null")
    samples, train = training_samples(windows, config.data), config.train
    if len(samples) < train.batch_size:
        raise UserError(
            f"{dataset.path} has {len(samples)} training samples, less than a batch "
            f"(train.batch_size: {train.batch_size}): use a smaller one"
        )
    torch.manual_seed(train.seed)
    learner = PcaLearner(config, dataset, embeddings, axes)
    learner.stimuli.fit(clips)
    training = ContrastiveTraining(config, learner.to(device))
    drawn = shuffled_batches(samples, train.batch_size, train.seed, Cursor(), config.data.lag_jitter)
    feed = Stream(BoldReader(dataset.path), config.data.frames, device)
    with feed.batches(drawn, train.batch_size) as batches:
        for batch in batches:
            training.update(batch)
            if training.guard.due:
                training.guard.check()
            if training.step == train.steps:
                break
    training.must_be_sound()
    learner.load_state_dict(tested_weights(training.tested_state()))
    return learner.eval()
