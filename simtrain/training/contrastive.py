"""The training of SIM: fMRI aligned with the embeddings of the stimulus by a contrastive loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from simtrain.common import distributed, finite
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.feeds import Batch
from simtrain.models.draws import SampleDraws
from simtrain.models.learner import Learner
from simtrain.training import accumulation, validation_retrieval
from simtrain.training.accumulation import Embeddings, Losses
from simtrain.training.step import SPREAD, Training
from simtrain.training.validation_retrieval import RETRIEVAL, ValidationRetrieval


class ContrastiveTraining(Training[Learner]):
    """`Training` whose loss compares the embeddings of a whole batch, of all processes.

    Parameters
    ----------
    clips : (movies, seconds) int8 as `simtrain.data.windows.clip_split` gives, among which validation
        retrieves; None: it does not
    """

    def __init__(self, config: ResolvedConfig, learner: Learner, clips: np.ndarray | None = None) -> None:
        super().__init__(config, learner)
        self._retrieval = None if clips is None else ValidationRetrieval(learner, clips)

    def gradients(self, batch: Batch) -> Losses:
        """Give the weights their gradients of the scaled loss of a batch, and return the losses."""
        parts = accumulation.split(batch, self.config.accumulate)
        if len(parts) > 1:
            return accumulation.backward(
                parts, self._embed_part, lambda whole: self.compare(whole, batch.samples), self.scaler.scale
            )
        self.seed()
        loss, named = self.losses(batch)
        self.scaler.scale(loss).backward()
        return loss, named

    def losses(self, batch: Batch) -> Losses:
        """The loss of a batch, and that of each pair of modalities; as `compare`, it queues the batch."""
        return self.compare(self.embed(batch), batch.samples)

    def compare(self, embeddings: Embeddings, samples: np.ndarray) -> Losses:
        """The losses of the embeddings of a batch, together with those of the other processes.

        If there is a queue, the whole of them then joins it, the same in all processes.
        """
        whole, samples = distributed.gather(embeddings), distributed.gather_samples(samples)
        queue, compared = self.learner.queue, self.learner.compared(samples, self._draws)
        losses = self.learner.loss(
            whole,
            self.learner.ignored(samples),
            None if queue is None else queue(samples),
            **({} if compared is None else {"compared": compared}),
        )
        if queue is not None:
            queue.add(whole, samples)
        return losses

    def _embed_part(self, number: int, part: Batch) -> dict[str, Tensor]:
        self.seed(number)
        return self.embed(part)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Embeddings of a batch, in the precision of training."""
        with self.autocast():
            return self.learner.embed(
                batch.samples, batch.stored, self._draws if self.learner.training else None
            )

    @property
    def _draws(self) -> SampleDraws:
        """Of the step that comes."""
        return SampleDraws(self.config.seed, self.step)

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """What validation takes the mean of: the losses, top-1 from fMRI to each modality, and retrieval.

        And how far the embeddings of different windows or clips lie apart.
        """
        embeddings, ignore = self.embed(batch), self.learner.ignored(batch.samples)
        loss, parts = self.learner.loss(embeddings, ignore)
        scores = {"loss": loss} | parts | top1(embeddings, ignore) | self._spreads(batch, embeddings)
        return scores | self._retrieved(batch, embeddings)

    def whole(self, means: Mapping[str, float]) -> dict[str, float]:
        return {**means, **validation_retrieval.overall(means)}

    def objective(self, values: Mapping[str, float]) -> float:
        if self.config.best_by == "retrieval":
            return -values.get(f"val/{RETRIEVAL}", math.nan)
        if self.config.best_by == "pairs":
            return fmean(values[f"val/{one}-{other}"] for one, other in self.learner.loss.weights)
        return super().objective(values)

    def _retrieved(self, batch: Batch, embeddings: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._retrieval is None:
            return {}
        with self.autocast():
            return self._retrieval(batch.samples, embeddings)

    def _spreads(self, batch: Batch, embeddings: Embeddings) -> dict[str, Tensor]:
        """How far embeddings lie apart, of modalities whose inputs do."""
        if len(batch.samples) == 1:
            return {}
        spreads = {f"{SPREAD}{name}": finite.spread(vectors) for name, vectors in embeddings.items()}
        inputs = self.learner.clip_features(batch.samples["movie"], batch.samples["clip"])
        for name, features in inputs.items():
            alike = finite.spread(features) <= finite.CONSTANT
            spreads[f"{SPREAD}{name}"] = torch.where(alike, 1.0, spreads[f"{SPREAD}{name}"])
        return spreads

    def readings(self) -> dict[str, float]:
        """What is logged beside the losses."""
        return {"temperature": self.learner.loss.temperature}


def top1(embeddings: dict[str, Tensor], ignore: Tensor) -> dict[str, Tensor]:
    """Top-1 among the samples of a batch, from fMRI to each modality, beside its chance.

    Ties, and what compares with nothing, count against the true one.
    """
    values = {"chance": (~ignore).sum(dim=1).float().reciprocal().mean()}
    for modality in [name for name in embeddings if name != "fmri"]:
        similarity = (embeddings["fmri"] @ embeddings[modality].T).masked_fill(ignore, -torch.inf)
        worse = similarity < similarity.diagonal()[:, None]  # not what is as good, or NaN
        values[f"top1-{modality}"] = (worse.sum(dim=1) == len(ignore) - 1).float().mean()
    return values
