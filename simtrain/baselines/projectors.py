"""SIM's projectors on scores of windows (`simtrain.baselines.scores`), trained and chosen as SIM is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.balance import Balance
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.lag_jitter import training_samples
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.windows import Windows, by_hemisphere
from simtrain.models.embeddings import in_units
from simtrain.models.learner import Learner
from simtrain.models.sim import SIM
from simtrain.training import validation
from simtrain.training.checkpoint import tested_weights
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.validation import Validation


class ScoresLearner(Learner):
    """A learner whose batches have scores in place of BOLD, and whose projectors and loss are SIM's.

    Parameters
    ----------
    components : axes that scores are on
    """

    def __init__(
        self, config: ResolvedConfig, dataset: Dataset, embeddings: Mapping[str, Embedding], components: int
    ) -> None:
        super().__init__(config, dataset, dict(embeddings))
        features = {"fmri": components}
        features |= {modality: embedding.values.shape[-1] for modality, embedding in embeddings.items()}
        torch.manual_seed(
            config.train.seed
        )  # what the encoder has drawn, which is none of it, decides nothing
        self.sim = SIM(nn.Identity(), features, config.projector.dim, config.projector.dropout)
        self.left_out = self.left_out._replace(drop_path=0.0)  # there are no blocks

    def patches(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        return stored


def train_projectors(
    learner: ScoresLearner,
    config: ResolvedConfig,
    used: Windows,
    windows: np.ndarray,
    held_out: np.ndarray,
    feed: ScoresFeed,
) -> None:
    """Train as `simtrain fit` trains SIM, and leave the weights that are best by validation, or the last.

    Parameters
    ----------
    used : its ``clips`` are those among which validation retrieves
    windows, held_out : WINDOW, to train on and to validate with
    feed : of both, in all hemispheres in use

    Raises
    ------
    UserError
        If there are too few windows for a batch, none of validation though training is to stop by it, or
        training diverges.
    """
    data, train, dataset = config.data, config.train, used.dataset
    samples = training_samples(windows, data)
    if len(samples) < train.batch_size:
        raise UserError(
            f"{dataset.path} has {len(samples)} training samples, less than a batch (train.batch_size: "
            f"{train.batch_size}): use a smaller one"
        )
    if not len(held_out) and (train.patience is not None or train.schedule == "plateau"):
        raise UserError(
            f"train.patience, train.schedule plateau: {dataset.path} has no validation samples to judge by"
        )
    training = ContrastiveTraining(config, learner, used.clips)
    judged = validation.choose(by_hemisphere(held_out, data.sides), train)
    validate = Validation(judged, feed, training) if len(judged) else None
    balance = Balance.of(samples, dataset.segment, train.balance)
    drawn = shuffled_batches(samples, train.batch_size, train.seed, Cursor(), data.lag_jitter, balance)
    learner.load_state_dict(_trained(training, feed, drawn, validate))
    learner.eval()


def _trained(
    training: ContrastiveTraining, feed: ScoresFeed, drawn: Any, validate: Validation | None
) -> dict[str, Any]:
    """The state of the learner that is to be tested."""
    train, best = training.config, None
    with feed.batches(drawn, train.batch_size) as batches:
        for batch in batches:
            training.update(batch)
            due = training.step % train.validate_every == 0 or training.step == train.steps
            if validate is not None and due:
                training.must_be_sound()
                if training.improved(validate()):
                    best = _copied(training)
            elif training.guard.due:
                training.guard.check()
            if training.finished:
                break
    training.must_be_sound()
    return best or _copied(training)


def _copied(training: ContrastiveTraining) -> dict[str, Any]:
    weights = tested_weights(training.tested_state())
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in weights.items()}


@torch.no_grad()
def embed_scores(
    learner: ScoresLearner, scores: Scores, units: Sequence[str], windows: np.ndarray
) -> np.ndarray:
    """(n, units, dim) float32 of unit length, as `simtrain.models.embeddings.embed_units` has it."""
    samples = by_hemisphere(windows, learner.sides)
    embedded = learner.embed_fmri(samples, scores.of(samples)).float()
    return in_units(
        embedded.view(len(windows), len(learner.sides), -1).cpu().numpy(), units, learner.side_names
    )
