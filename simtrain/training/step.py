"""A step of any training, and the state that it leaves: what a checkpoint holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simtrain.common import distributed, finite, processes
from simtrain.config.resolved import Resolved
from simtrain.config.training_sections import TrainConfig
from simtrain.data.feeds import Batch
from simtrain.data.order import Cursor
from simtrain.models.input import FramePatches
from simtrain.models.learner import Learner
from simtrain.models.masked_learner import MaskedLearner
from simtrain.models.sit import TransformerBlock
from simtrain.training import accumulation
from simtrain.training.accumulation import Losses
from simtrain.training.early_stopping import Patience
from simtrain.training.ema import Average
from simtrain.training.guard import Diverged, Guard
from simtrain.training.schedule import Plateau, learning_rate

TESTED = ("step", "learner", "average")
SPREAD = "spread-"  # before a modality, in the scores of a batch
Scores = dict[str, list[float]]  # of a batch, by name


AnyLearner = TypeVar("AnyLearner", bound=Learner | MaskedLearner)


class Training(ABC, Generic[AnyLearner]):
    """A learner with its optimiser, and how far it has come.

    Attributes
    ----------
    step : updates done
    cursor : where the sampler goes on
    average : the moving average of the weights, None if the configuration asks for none
    patience : whether validation still improves
    plateau : how far the learning rate has fallen where it did not
    guard : whether its steps are finite
    """

    def __init__(self, config: Resolved, learner: AnyLearner) -> None:
        self.config, self.learner = config.train, learner
        self.precision = mixed_precision(config.train.amp, learner.device)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(learner, config.train), betas=(config.train.beta1, config.train.beta2)
        )
        self.scaler = torch.amp.GradScaler(learner.device.type, enabled=self.precision is torch.float16)
        self.average = None if config.train.ema is None else Average(learner, config.train.ema)
        self.patience, self.plateau = Patience(config.train.patience), Plateau(config.train)
        self.guard = Guard(learner.device, self.scaler)
        self.step, self.cursor = 0, Cursor()
        if config.train.compile:
            _compile_parts(learner)

    @property
    def finished(self) -> bool:
        """All steps are done, or validation has ceased to improve."""
        return self.step >= self.config.steps or self.patience.exhausted

    @property
    def draws_by_share(self) -> bool:
        """Whether how a batch is shared out decides the result: dropout is drawn for each share by itself.

        All else that is drawn (order, lags, masks, `LeftOut`) is a function of the sample.
        """
        shares = processes.size() * self.config.accumulate
        dropouts = (module for module in self.learner.modules() if isinstance(module, nn.Dropout))
        return shares > 1 and any(module.p > 0 for module in dropouts)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of AdamW on a batch whose note is the cursor behind it; the losses before it.

        With several processes, ``batch`` is this one's share, and all the rest is that of the whole.
        """
        rate = self.rate(self.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learner.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss, parts = self.gradients(batch)
        distributed.average_gradients(self.learner.parameters())
        self.scaler.unscale_(self.optimizer)
        largest = math.inf if self.config.clip_norm is None else self.config.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.learner.parameters(), largest)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.step)
        self.step, self.cursor = self.step + 1, batch.note
        losses = {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}
        self.guard.see(self.step, rate, losses, norm, batch.samples)
        return losses

    def rate(self, update: int) -> float:
        """The learning rate of an update, counted from 1, by the validations so far."""
        return learning_rate(self.config, update) * self.plateau.scale

    def improved(self, values: Mapping[str, float]) -> bool:
        """Take note of what a validation gives: is it the best so far, by ``train.best_by``?"""
        if self.config.best_by is None:
            return False
        objective = self.objective(values)
        self.plateau.see(objective)
        return self.patience.improved(objective)

    @abstractmethod
    def gradients(self, batch: Batch) -> Losses:
        """Give the weights their gradients of the scaled loss of a batch, and return the losses."""

    @abstractmethod
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """What validation takes the mean of, ``loss`` among them.

        A scalar is of the whole batch, a vector has a value for each of some of its samples.
        """

    def whole(self, means: Mapping[str, float]) -> dict[str, float]:
        """The means of a validation, and what follows from them."""
        return dict(means)

    def objective(self, values: Mapping[str, float]) -> float:
        """What is least in the best validation, by ``train.best_by``, among what validation gives."""
        return values["val/loss"]

    def readings(self) -> dict[str, float]:
        """What is logged beside the losses."""
        return {}

    def seed(self, part: int = 0) -> None:
        """Make what is drawn next (dropout) a function of seed, step, process and part of the batch alone.

        So a run resumes exactly without the states of all generators of all processes.
        """
        entropy = [self.config.seed, self.step, processes.rank(), part]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))

    def autocast(self) -> torch.autocast:
        """The precision of training, as a context."""
        return torch.autocast(self.learner.device.type, self.precision, enabled=self.precision is not None)

    def must_be_sound(self) -> None:
        """Look at all that may be logged or saved: the same in all processes.

        Raises
        ------
        Diverged
            As `Guard.check`; and if a weight is not finite or too large to compute with, or the optimiser's
            state is not finite.
        """
        self.guard.check()
        names = finite.unsound(self.state_dict())
        names += [name for name, value in self.readings().items() if not 0 < value < math.inf]
        if distributed.agree(len(names) or None):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise Diverged(
                f"step {self.step} leaves {', '.join(names[:1])}{more} infinite, NaN or too large to compute "
                f"with, at a learning rate of {self.optimizer.param_groups[0]['lr']:.3g}"
            )

    @torch.no_grad()
    def must_work(self, batch: Batch) -> None:
        """Try the weights, and those that are tested, on the batch before them: the same in all processes.

        Weights may be finite, and all that they give not.

        Raises
        ------
        Diverged
            If a score is not finite, or the embeddings of a modality are all the same.
        """
        self.learner.eval()
        part = accumulation.split(batch, self.config.accumulate)[0]
        found = [self.scores(part)]
        if self.average is not None:
            with self.tested():
                found.append(self.scores(part))
        told = [listed(scores) for scores in found]
        judge(distributed.gather_objects(told), f"what the weights of step {self.step} give")

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "cursor": list(self.cursor),
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "patience": self.patience.state_dict(),
            "plateau": self.plateau.state_dict(),
            "guard": self.guard.state_dict(),
        }

    def tested_state(self) -> dict[str, Any]:
        """The part of `state_dict` that testing needs."""
        return {name: value for name, value in self.state_dict().items() if name in TESTED}

    def tested(self) -> AbstractContextManager[None]:
        """Within it, the learner has the weights that are to be tested: the average, if there is one."""
        return nullcontext() if self.average is None else self.average.applied()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.cursor = state["step"], Cursor(*state["cursor"])
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.patience.load_state_dict(state["patience"])
        if "plateau" in state:  # not in a checkpoint from before it
            self.plateau.load_state_dict(state["plateau"])
        self.guard.load_state_dict(state.get("guard", {"skipped": 0, "in_a_row": 0}))
        if self.average is not None:
            self.average.load_state_dict(state["average"])


AnyTraining = Training[Learner] | Training[MaskedLearner]


def listed(scores: Mapping[str, Tensor]) -> Scores:
    """What `Training.scores` gives, as lists of numbers."""
    return {name: values.flatten().tolist() for name, values in scores.items()}


def judge(scores: list[Scores], what: str) -> None:
    """Look at the scores of batches.

    Raises
    ------
    Diverged
        If one is not finite, or a modality's embeddings are the same in every batch.
    """
    names = dict.fromkeys(name for score in scores for name in score)
    values = {name: [value for one in scores for value in one.get(name, ())] for name in names}
    if broken := [name for name in names if not all(map(math.isfinite, values[name]))]:
        raise Diverged(f"{what} is not finite ({', '.join(broken)})")
    for name in names:
        if name.startswith(SPREAD) and max(values[name]) <= finite.CONSTANT:
            raise Diverged(f"{what} is the same {name.removeprefix(SPREAD)} embedding for all of a batch")


def mixed_precision(amp: str, device: torch.device) -> torch.dtype | None:
    """The type of autocast on a device, None for none; "auto" is bf16 where a GPU has it, else fp16.

    Raises
    ------
    UserError
        If the device cannot train in that precision.
    """
    if amp == "auto":
        if device.type != "cuda":
            return None
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)  # emulated, it is slow
        return torch.bfloat16 if has_bf16 else torch.float16
    if amp == "fp16" and device.type != "cuda":
        raise UserError("train.amp: fp16 needs a CUDA device; use off or bf16 on a CPU")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def _compile_parts(learner: Learner | MaskedLearner) -> None:
    """Compile each block by itself: they share their code, so that it is compiled once.

    On a GPU, so is the way from stored BOLD to patches; on a CPU, that is compiled in any case.
    """
    parts = TransformerBlock if learner.device.type == "cpu" else (TransformerBlock, FramePatches)
    for module in learner.modules():
        if isinstance(module, parts):
            module.compile()


def _parameter_groups(learner: nn.Module, train: TrainConfig) -> list[dict[str, Any]]:
    """Matrices, and the rest, with which weight decay has no business, unless it is for all."""
    others_decay = train.weight_decay if train.decayed == "all" else 0.0
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim == 2]
    others = [parameter for parameter in trained if parameter.ndim != 2]
    return [
        {"params": matrices, "weight_decay": train.weight_decay},
        {"params": others, "weight_decay": others_decay},
    ]
