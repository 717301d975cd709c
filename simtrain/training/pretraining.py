"""Pretraining: the surface encoder learns to fill in hidden patches of BOLD, without any stimulus.

Its windows are those of `simtrain fit`: training subjects, and BOLD that answers a training scene (``lag`` s
before). So no response to a scene or of a subject that is held out is ever seen.
"""

from __future__ import annotations

import torch
from rich.console import Console
from torch import Tensor

from simtrain.common import distributed, processes
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Batch
from simtrain.data.mixture import shares_of
from simtrain.data.windows import Windows
from simtrain.models.mae import masked_error
from simtrain.models.masked_learner import Filled, MaskedLearner
from simtrain.models.masking import Mask
from simtrain.training import accumulation
from simtrain.training.accumulation import Losses
from simtrain.training.loop import go_on
from simtrain.training.preparation import find_samples, fit_embedding, new_learner
from simtrain.training.run_folder import PretrainRun
from simtrain.training.scalars import Report
from simtrain.training.step import Training

VALIDATION = 0  # in place of a step in the seed of masks; training counts from 1


class Pretraining(Training[MaskedLearner]):
    """`Training` of a masked autoencoder: what differs is the loss, and what is validated."""

    def gradients(self, batch: Batch) -> Losses:
        """Give the weights their gradients of the scaled error over all values of a batch that are counted.

        Parts of the batch, and processes, weigh as many values as they count; the sum is the mean over the
        whole, but for the number of processes, over which gradients are averaged.
        """
        parts = accumulation.split(batch, self.config.accumulate)
        masks = [self.mask(part, self.step + 1) for part in parts]
        counts = [
            self.learner.counted(part.samples, part.stored, mask).sum()
            for part, mask in zip(parts, masks, strict=True)
        ]
        whole = distributed.summed(torch.stack(counts).sum()) / processes.size()
        loss = torch.zeros((), device=self.learner.device)
        for number, (part, mask, count) in enumerate(zip(parts, masks, counts, strict=True)):
            self.seed(number)
            share = self.error(part, mask) * count / whole
            self.scaler.scale(share).backward()
            loss += share.detach()
        return distributed.summed(loss) / processes.size(), {}

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """The error over what is counted, beside that of predicting 0.

        The two of ``unseen`` are over the cortex that no visible patch shows: the vertices on an edge that a
        hidden patch has in common with a visible one are left out.
        """
        filled = self.fill(batch, self.mask(batch, VALIDATION))
        unseen, zero = self.learner.unseen(filled), torch.zeros_like(filled.target)
        kind = self.learner.config.loss
        return {
            "loss": masked_error(filled.predicted, filled.target, filled.counted, kind),
            "zero": masked_error(zero, filled.target, filled.counted, kind),
            "unseen": masked_error(filled.predicted, filled.target, unseen, kind),
            "unseen-zero": masked_error(zero, filled.target, unseen, kind),
        }

    def fill(self, batch: Batch, mask: Mask) -> Filled:
        """A batch hidden and predicted, in the precision of training."""
        with self.autocast():
            return self.learner.fill(batch.samples, batch.stored, mask)

    def error(self, batch: Batch, mask: Mask) -> Tensor:
        """The mean error over what is counted of a batch."""
        filled = self.fill(batch, mask)
        return masked_error(filled.predicted, filled.target, filled.counted, self.learner.config.loss)

    def mask(self, batch: Batch, step: int) -> Mask:
        """What a step hides of a batch."""
        return self.learner.mask(batch.samples, self.config.seed, step)


def pretrain(
    dataset: Dataset,
    run: PretrainRun,
    device: torch.device,
    console: Console,
    feed: str = "auto",
    report: Report | None = None,
) -> int | None:
    """Train as `training.loop.fit` does: to the configured step, from the last checkpoint if there is one."""
    samples, held_out = find_samples(Windows.of(dataset, run.config), run.config)
    learner = new_learner(run, lambda: MaskedLearner(run.config, dataset)).to(device)
    fit_embedding(learner, samples, dataset, run, shares_of(samples, dataset, run.weights))
    training = Pretraining(run.config, learner)
    return go_on(training, samples, held_out, dataset, run, console, feed, report=report)
