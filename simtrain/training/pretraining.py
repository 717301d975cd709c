"""Pretraining: the surface encoder learns to fill in hidden patches of BOLD, without any stimulus.

Its windows are those of `simtrain fit`: training subjects, and BOLD that answers a training scene (``lag`` s
before). So no response to a scene or of a subject that is held out is ever seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from simdata.common.errors import UserError
from simtrain.common import distributed, processes
from simtrain.config.resolved import ResolvedPretrainConfig
from simtrain.data import windows
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Batch
from simtrain.models.factory import surface_encoder
from simtrain.models.input import Frames
from simtrain.models.mae import MAE, Mask, draw_mask, masked_error, patch_statistics
from simtrain.models.patch_table import kept_table
from simtrain.surface.patches import patch_vertices
from simtrain.surface.vertices import mean_over_patches
from simtrain.training import accumulation
from simtrain.training.loop import go_on
from simtrain.training.run_folder import PretrainRun
from simtrain.training.scalars import Report
from simtrain.training.step import Training

VALIDATION = 0  # in place of a step in the seed of masks; training counts from 1
IDENTITY = ("subject", "movie", "second", "hemisphere")  # of a sample


class Filled(NamedTuple):
    """A batch with patches hidden, and what was predicted. All (batch, patches, vertices * frames).

    Attributes
    ----------
    values : float32, z-scores; 0 where there are no data
    predicted : in the units of ``target``
    target : ``values``, or ``values`` less ``mean`` in units of ``deviation`` of their patch
    counted : bool, hidden, in the cortex and with data
    hidden : (batch, patches, frames) bool
    mean, deviation : (batch, patches, 1), None unless targets are normalised
    """

    values: Tensor
    predicted: Tensor
    target: Tensor
    counted: Tensor
    hidden: Tensor
    mean: Tensor | None
    deviation: Tensor | None


class MaskedLearner(nn.Module):
    """The masked autoencoder on windows as the store has them."""

    def __init__(self, config: ResolvedPretrainConfig, cortex: np.ndarray) -> None:
        super().__init__()
        self.config = config.mae
        patches = patch_vertices(config.model.ico)
        self.frames = Frames(cortex, patches)
        mae = config.mae
        self.mae = MAE(
            surface_encoder(config.model, patches.shape, config.data.frames),
            frames=config.data.frames,
            kind=mae.mask,
            dim=mae.decoder_dim,
            depth=mae.decoder_depth,
            heads=mae.decoder_heads,
            dim_head=mae.decoder_dim_head,
        )

    @property
    def device(self) -> torch.device:
        return self.mae.to_values.weight.device

    def mask(self, samples: np.ndarray, seed: int, step: int) -> Mask:
        """The masks of samples: each a function of seed, step and the sample alone.

        So a run resumes exactly, and goes the same way in parts and in several processes.
        """
        entropies = ([seed, step, *(int(sample[field]) for field in IDENTITY)] for sample in samples)
        seeds = [_seed(entropy) for entropy in entropies]
        patches = self.frames.shape[0]
        return draw_mask(self.config.mask, seeds, patches, self.mae.frames, self.config.ratio, self.device)

    def fill(self, samples: np.ndarray, stored: Tensor, mask: Mask) -> Filled:
        """Hide and predict patches of ``samples`` (SAMPLE), (n, frames, vertices) as stored."""
        values = self.frames(stored, self._hemisphere(samples))
        cortex = self.with_data(samples, stored)
        counted = cortex & self.per_vertex(mask.hidden)
        mean, deviation = patch_statistics(values, cortex) if self.config.normalise_target else (None, None)
        target = values if mean is None else (values - mean) / deviation
        return Filled(values, self.mae(values, mask), target, counted, mask.hidden, mean, deviation)

    def with_data(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """(batch, patches, vertices of one * frames) bool: in the cortex, and with data in the sample."""
        inside = self.frames.with_data(stored, self._hemisphere(samples))
        gathered = inside[:, self.frames.vertices].unflatten(1, self.frames.shape)
        return gathered.repeat_interleave(self.mae.frames, dim=2)

    def per_vertex(self, of_patches: Tensor) -> Tensor:
        """(batch, patches, frames) -> (batch, patches, vertices of one * frames)."""
        return of_patches.repeat(1, 1, self.frames.shape[1])

    def on_surface(self, values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """`mean_over_patches` of this encoder's patches."""
        patches = self.frames.vertices.view(self.frames.shape)
        return mean_over_patches(values, counted, patches, self.frames.cortex.shape[1])

    def unseen(self, filled: Filled) -> Tensor:
        """Of the values that are counted, those that no visible patch has: (batch, patches, ...) bool."""
        visible = self.per_vertex(~filled.hidden)
        _, counts = self.on_surface(visible, visible)
        return filled.counted & (counts[:, self.frames.vertices] == 0).reshape(filled.counted.shape)

    def _hemisphere(self, samples: np.ndarray) -> Tensor:
        return torch.from_numpy(samples["hemisphere"].astype(np.int64)).to(self.device)


class Pretraining(Training):
    """`Training` of a masked autoencoder: what differs is the loss, and what is validated."""

    def gradients(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the weights their gradients of the scaled error over all hidden values of a batch.

        Parts of the batch, and processes, count as many values as they have hidden in the cortex; the sum is
        the mean over the whole, but for the number of processes, over which gradients are averaged.
        """
        parts = accumulation.split(batch, self.config.accumulate)
        masks = [self.mask(part, self.step + 1) for part in parts]
        counts = [self._counted(part, mask) for part, mask in zip(parts, masks, strict=True)]
        whole = distributed.summed(sum(counts)) / processes.size()
        loss = torch.zeros((), device=self.learner.device)
        for number, (part, mask, count) in enumerate(zip(parts, masks, counts, strict=True)):
            self.seed(number)
            share = self.error(part, mask) * count / whole
            self.scaler.scale(share).backward()
            loss += share.detach()
        return distributed.summed(loss) / processes.size(), {}

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """The error over hidden patches, beside that of predicting 0.

        The two of ``unseen`` leave out what a visible neighbour shows, the vertices on a common edge.
        """
        filled = self.fill(batch, self.mask(batch, VALIDATION))
        unseen, zero = self.learner.unseen(filled), torch.zeros_like(filled.target)
        return {
            "loss": masked_error(filled.predicted, filled.target, filled.counted),
            "zero": masked_error(zero, filled.target, filled.counted),
            "unseen": masked_error(filled.predicted, filled.target, unseen),
            "unseen-zero": masked_error(zero, filled.target, unseen),
        }

    def readings(self) -> dict[str, float]:
        return {}

    def fill(self, batch: Batch, mask: Mask) -> Filled:
        """A batch hidden and predicted, in the precision of training."""
        with self.autocast():
            return self.learner.fill(batch.samples, batch.stored, mask)

    def error(self, batch: Batch, mask: Mask) -> Tensor:
        """The mean squared error over what is hidden of a batch."""
        filled = self.fill(batch, mask)
        return masked_error(filled.predicted, filled.target, filled.counted)

    def mask(self, batch: Batch, step: int) -> Mask:
        """What a step hides of a batch."""
        return self.learner.mask(batch.samples, self.config.seed, step)

    def _counted(self, batch: Batch, mask: Mask) -> Tensor:
        return (
            self.learner.per_vertex(mask.hidden) & self.learner.with_data(batch.samples, batch.stored)
        ).sum()


def pretrain(
    dataset: Dataset,
    run: PretrainRun,
    device: torch.device,
    console: Console,
    feed: str = "auto",
    report: Report | None = None,
) -> int | None:
    """As `training.loop.fit`: to the configured number of steps, from the last checkpoint if there is one."""
    found = windows.Windows.of(dataset, run.config).find()
    sides = run.config.data.sides
    samples = windows.by_hemisphere(windows.training(found), sides)
    if len(samples) < run.config.train.batch_size:
        raise UserError(
            f"{dataset.path} has {len(samples)} training samples, less than a batch "
            f"(train.batch_size: {run.config.train.batch_size}): see `simdata info` for its runs and sets"
        )
    torch.manual_seed(run.config.train.seed)
    learner = MaskedLearner(run.config, dataset.cortex)
    model = run.config.model
    if model.patches is not None:
        kept_table(run.path, model.patches, model.ico).lay_out(learner.mae.encoder)
    training = Pretraining(run.config, learner.to(device))
    held_out = windows.by_hemisphere(windows.validation(found), sides)
    return go_on(training, samples, held_out, dataset, run, console, feed, report=report)


def _seed(entropy: list[int]) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
