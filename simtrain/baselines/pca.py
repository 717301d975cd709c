"""PCA of cortical windows with SIM's projectors on top: SIM without the surface transformer.

The axes are fitted in a few passes over the windows (`simtrain.models.main_axes`), with no more than a batch
of them in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.feeds import Stream
from simtrain.data.lag_jitter import training_samples
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.windows import by_hemisphere
from simtrain.models.input import FramePatches
from simtrain.models.learner import Learner
from simtrain.models.main_axes import Axes, main_axes
from simtrain.models.sim import SIM
from simtrain.training.checkpoint import tested_weights
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.preparation import decoded, draw


class Components(nn.Module):
    """Takes the place of the surface transformer: windows -> scores on main axes, with unit variance."""

    mean: Tensor
    axes: Tensor
    deviation: Tensor

    def __init__(self, axes: Axes) -> None:
        super().__init__()
        self.register_buffer("mean", axes.mean[0])
        self.register_buffer("axes", axes.axes[0])
        self.register_buffer("deviation", axes.variance[0].sqrt().clamp(min=1e-12))

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
        self.frames = whole_hemisphere(dataset, config)
        features = {"fmri": axes.axes.shape[1]}
        features |= {modality: embedding.values.shape[-1] for modality, embedding in embeddings.items()}
        self.sim = SIM(Components(axes), features, config.projector.dim, config.projector.dropout)


def whole_hemisphere(dataset: Dataset, config: ResolvedConfig) -> FramePatches:
    """BOLD as ``data.normalise`` has it, with all vertices as one patch."""
    return FramePatches.of(dataset, config, np.arange(dataset.cortex.shape[1])[None])


def fit_axes(
    dataset: Dataset,
    windows: np.ndarray,
    config: ResolvedConfig,
    *,
    components: int,
    samples: int,
    seed: int,
    device: torch.device,
) -> Axes:
    """Main axes of ``samples`` of the windows, drawn by ``seed`` from all hemispheres (R mirrored on L).

    Raises
    ------
    UserError
        If the windows are not finite, or do not vary.
    """
    drawn = draw(by_hemisphere(windows, config.data.sides), samples, seed)
    frames = whole_hemisphere(dataset, config).to(device)
    blocks = decoded(dataset, drawn, frames, config.data.frames, device)
    found = main_axes(blocks, components, seed)
    if not 0 < float(found.total) < math.inf:
        raise UserError("pca: the BOLD of the training windows is not finite, or the same in all of them")
    return found


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
    if config.train.schedule == "plateau":
        raise UserError(
            "train.schedule plateau: PCA's projectors are trained without validation; use another"
        )
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
    learner.frames = whole_hemisphere(dataset, config.as_tested).to(device)
    return learner.eval()
