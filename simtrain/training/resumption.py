"""What may change in the configuration of a run that goes on, and what that means."""

from __future__ import annotations

from pathlib import Path

from simdata.common.errors import UserError
from simtrain.config.resolved import Resolved
from simtrain.config.schema import Changes
from simtrain.training.schedule import learning_rate

# They decide what is written and how it is worked out, but not what: results are the same, up to rounding.
FREE = {
    "train.log_every",
    "train.checkpoint_every",
    "train.accumulate",
    "train.compile",
    "model.checkpointing",
}
STEPS, VALIDATE = "train.steps", "train.validate_every"


def refused(before: Resolved, changes: Changes) -> list[str]:
    """Those of the ``changes`` with which the run would be another one, as lines with both values.

    More steps are a longer run. Validations are looked at by nobody but the reader, unless they decide which
    weights are the best, and so when training ends.
    """
    free = FREE | {STEPS} | ({VALIDATE} if before.train.best_by is None else set())
    why = {VALIDATE: " (validations decide which weights are the best)"}
    return [
        f"{key}: {old} != {new}{why.get(key, '')}" for key, (old, new) in changes.items() if key not in free
    ]


def must_not_be_behind(run: Path, steps: int, done: int) -> None:
    """Refuse an end that a run has passed.

    Raises
    ------
    UserError
        If there are fewer ``steps`` than are ``done``.
    """
    if steps < done:
        raise UserError(
            f"{STEPS}: {steps} are asked for, but {run} has done {done}: ask for {done} or more, or give "
            "another `out`"
        )


def told(changes: Changes, config: Resolved, done: int) -> list[str]:
    """The changes in words. The learning rate is that of a run of so many steps as there are now."""
    lines = [f"{key}: {old} -> {new} from step {done} on" for key, (old, new) in changes.items()]
    if STEPS in changes and done < config.train.steps:
        rate = learning_rate(config.train, done + 1)
        at = "" if config.train.schedule == "plateau" else f", at {rate:.3g}"  # which only a checkpoint knows
        lines.append(f"the learning rate goes on as in a run of {config.train.steps} steps{at}")
    return lines
