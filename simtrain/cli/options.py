"""Options that commands share, and their types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from simdata.common.local_path import LOCAL
from simdata.store.location import location
from simtrain.common.device import DEVICES
from simtrain.config import composition
from simtrain.config.schema import SomeConfig
from simtrain.data.experiments import ALL, EXPERIMENTS, SEEN, TESTED_SETS
from simtrain.data.feeds import KINDS
from simtrain.retrieval.joint import WAYS
from simtrain.retrieval.named_protocols import NAMED
from simtrain.retrieval.protocol import EXACT, WHOLE_MOVIE
from simtrain.surface.vertices import MESHES
from simtrain.training.checkpoint import CHECKPOINTS

Command = TypeVar("Command", bound=Callable[..., Any])


class ByModality(click.ParamType[Any]):
    """One value, or ``MODALITY=VALUE,...``: a mapping.

    Parameters
    ----------
    wrong : what is said of a value that is neither a whole number of ``least`` or more nor a ``word``
    """

    def __init__(self, least: int, wrong: str, word: str | None = None) -> None:
        self._least, self._wrong, self._word = least, wrong, word
        one = f"N|{word}" if word else "N"
        self.name = f"{one}|MODALITY=N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if "=" not in value:
            return self._one(value, param, ctx)
        parts = [part.partition("=") for part in value.split(",")]
        found = {name.strip(): self._one(text.strip(), param, ctx) for name, _, text in parts}
        if len(found) < len(parts):
            self.fail(f"{value!r} names a modality twice", param, ctx)
        return found

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if text == self._word:
            return text
        if not re.fullmatch(r"\d+", text) or int(text) < self._least:
            self.fail(f"{text!r} {self._wrong}", param, ctx)
        return int(text)


POOL = ByModality(2, f"is neither a number of candidates (2 or more) nor {WHOLE_MOVIE!r}", WHOLE_MOVIE)


class Draws(click.ParamType["int | str"]):
    """A number, or ``exact``."""

    name = f"N|{EXACT}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == EXACT:
            return EXACT
        return click.IntRange(1).convert(value, param, ctx)


SECONDS = ByModality(1, "is no number of seconds (1 or more)")


class Weights(click.ParamType[Any]):
    """A word, or ``MODALITY=WEIGHT,...``: a mapping."""

    name = f"{'|'.join(WAYS)}|MODALITY=W,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value in WAYS:
            return value
        parts = [part.partition("=") for part in value.split(",")]
        try:
            found = {name.strip(): float(text) for name, _, text in parts}
        except ValueError:
            self.fail(f"{value!r} is neither one of {', '.join(WAYS)} nor MODALITY=WEIGHT,...", param, ctx)
        if len(found) < len(parts):
            self.fail(f"{value!r} names a modality twice", param, ctx)
        return found


class Numbers(click.ParamType[tuple[float, ...]]):
    """``A,B,...``."""

    name = "A,B,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers with commas, such as 2,1", param, ctx)


class Location(click.ParamType[str | Path]):
    """A folder or a URL."""

    name = "PATH|URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        return location(value)


class Lags(click.ParamType[range]):
    """``A:B``: every second from A to B, both included; A may be negative."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        bounds = re.fullmatch(r"(-?\d+):(-?\d+)", value)
        if bounds is None or int(bounds[1]) > int(bounds[2]):
            self.fail(f"{value!r} is not A:B with A no more than B, such as 0:12", param, ctx)
        return range(int(bounds[1]), int(bounds[2]) + 1)


device_option = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
feed_option = click.option(
    "--feed",
    type=click.Choice(KINDS),
    default="auto",
    show_default=True,
    help="Where BOLD lies while training: on the GPU, in memory, or in the store. Results are the same.",
)
modalities_option = click.option(
    "--modalities",
    help="What to align: fmri with video, audio, or embeddings by name, such as fmri,video_clip,video_vjepa2 "
    "(default: fmri,video,audio).",
)
checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(CHECKPOINTS),
    default=CHECKPOINTS[0],
    show_default=True,
    help="The weights that were best by validation, if RUN kept any, or the last.",
)


def _held_out(experiments: Iterable[str], help: str) -> Callable[[Command], Command]:
    """``--experiment``: one of these, or all."""
    return click.option(
        "--experiment", type=click.Choice([*experiments, ALL]), default=ALL, show_default=True, help=help
    )


experiment_option = _held_out(EXPERIMENTS, "What was held out of training: subjects, scenes, or both.")
tested_option = _held_out(
    (*EXPERIMENTS, SEEN),
    "What was held out of training: subjects, scenes, or both; all of these; or seen: nothing was.",
)
split_option = click.option(
    "--split",
    type=click.Choice(TESTED_SETS),
    show_default="test",
    help="The set of subjects and scenes that is tested; val: to choose by, in files of its own.",
)
subject_option = click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
movie_option = click.option(
    "--movie", "movies", multiple=True, metavar="NAME", help="Only this one; may be repeated."
)
metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Another metric, such as mrr, or one of yours, by name or as my_module:MyMetric; may be repeated.",
)


def protocol_option(help: str, default: str | None = None) -> Callable[[Command], Command]:
    """``--protocol``: a retrieval test by its name."""
    return click.option(
        "--protocol", type=click.Choice(list(NAMED)), default=default, show_default=bool(default), help=help
    )


def splits_option(default: str, multiple: bool = False) -> Callable[[Command], Command]:
    """``--splits NAME|FILE``; ``default`` says whose sets count without it."""
    more = " Of several stores: once for all, or once for each; store: its own." if multiple else ""
    return click.option(
        "--splits",
        metavar="NAME|FILE",
        multiple=multiple,
        help=f"Sets of subjects and scenes: a name (simdata splits list) or YAML file (default: {default})."
        + more,
    )


splits_to_train = splits_option("the store's own; of a run that goes on: its own", multiple=True)
weights_option = click.option(
    "--weights",
    type=Numbers(),
    help="How often batches are of each of several stores (default: in proportion to training samples).",
)
splits_to_test = splits_option("those that RUN was trained with; store: its own")
store_argument = click.argument("store", type=Location())
stores_argument = click.argument("stores", type=Location(), nargs=-1, required=True, metavar="STORE...")
run_argument = click.argument("run", type=LOCAL)


def map_options(mesh: str) -> Callable[[Command], Command]:
    """``--mesh``, ``--parcels``, ``--figures`` and ``--surface`` of commands that map the cortex."""
    options = (
        click.option(
            "--mesh",
            type=click.Choice(MESHES),
            default=mesh,
            show_default=True,
            help="To write on: the store's, or HCP's, which opens on HCP's own surfaces.",
        ),
        click.option(
            "--parcels",
            type=LOCAL,
            multiple=True,
            help="Atlas on that mesh, for tables: dlabel.nii, or label.gii of each hemisphere (give both).",
        ),
        click.option("--figures", is_flag=True, help="Also a picture (needs matplotlib)."),
        click.option(
            "--surface",
            "surfaces",
            type=LOCAL,
            multiple=True,
            help="Draw on this surf.gii on that mesh, such as HCP's inflated (give both hemispheres').",
        ),
    )
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def config_option(kind: type[SomeConfig]) -> Callable[[Command], Command]:
    """``--config`` of a training, with the presets of its kind."""
    presets = ", ".join(composition.presets(kind))
    return click.option("--config", help=f"Preset ({presets}) or YAML file (default: sim-tiny).")


def set_option(example: str) -> Callable[[Command], Command]:
    """``--set KEY=VALUE``, which may be repeated."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help=f"Override, such as {example}."
    )
