"""Models of the transformers library from a file of weights: in one place, because it must be strict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simdata.encoders.weights import load_state

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Model = TypeVar("Model", bound="PreTrainedModel")
Config = TypeVar("Config", bound="PreTrainedConfig")

SHOWN = 3  # keys of each kind that a message names


def load_pretrained(
    encoder: str,
    model_class: type[Model],
    config_class: type[PreTrainedConfig],
    file: Path,
    *,
    unused: tuple[str, ...] = (),
    state: dict[str, Tensor] | None = None,
    config: PreTrainedConfig | None = None,
) -> Model:
    """A model with the weights of a file, all of them, in float32 on the CPU.

    transformers itself renames the keys of older files and adds or removes the model's prefix; but where it
    would fill a gap with random numbers and say so in a table, this is an error.

    Parameters
    ----------
    encoder : its name, for messages
    unused : beginnings of the keys of parts that this model lacks, such as a decoder
    state : instead of the file's own tensors
    config : instead of config.json beside the file, or the class's defaults where there is none

    Raises
    ------
    UserError
        If keys are missing, unexpected or of another shape: names the first of each.
    """
    config = config or read_config(encoder, config_class, file) or config_class()
    state = load_state(file) if state is None else state
    odd = {key for key, value in state.items() if not torch.is_tensor(value)}
    used = {key: value for key, value in state.items() if key not in odd and not key.startswith(unused)}
    with quiet():
        # transformers' types say a model, but with ``output_loading_info`` it is a tuple.
        loaded: tuple[Model, dict[str, Any]] = model_class.from_pretrained(  # type: ignore[assignment]
            None,
            config=config,
            state_dict=used,
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    model, info = loaded
    if file.with_name("config.json").is_file():
        advice = "It and config.json beside it must come from one model"
    else:
        advice = "No config.json lies beside it, so that its sizes were assumed: put the model's own there"
    check_keys(
        f"{encoder}: {file} does not fit {model_class.__name__}",
        missing=info["missing_keys"],
        unexpected=info["unexpected_keys"] | odd,
        shapes=[other_shape(*mismatch) for mismatch in info["mismatched_keys"]],
        advice=advice,
    )
    return model


def read_config(encoder: str, config_class: type[Config], file: Path) -> Config | None:
    """What config.json beside a file of weights says; None if there is none.

    Raises
    ------
    UserError
        If it is of another kind of model, or makes no sense.
    """
    path = file.with_name("config.json")
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        # The config of a model with two towers holds those of its towers, which need not say their kind.
        tower = content.get(config_class.base_config_key or "", content)
        whole = config_class.model_type.removesuffix("_vision_model")
        kinds = [tower.get("model_type", config_class.model_type), content.get("model_type", whole)]
        kind = next((kind for kind in kinds if kind not in (config_class.model_type, whole)), None)
        if kind is None:
            return config_class.from_dict(tower)
    except Exception as error:  # huggingface_hub's validation raises kinds of its own
        reason = " ".join(str(error).split())
        raise UserError(f"{encoder}: {path}: cannot be read as {config_class.__name__} ({reason})") from None
    why = " (NaFlex is not supported, models of one resolution are)" if kind.startswith("siglip2") else ""
    raise UserError(
        f"{encoder}: {path}: is of a {kind!r} model, not {config_class.model_type!r}{why}; "
        "choose other weights"
    )


def check_keys(what: str, *, missing: Any, unexpected: Any, shapes: Any, advice: str) -> None:
    """Raise a UserError that names the first few keys of each kind, unless there is none."""
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    faults = [f"{kind}: {_some(sorted(keys))}" for kind, keys in kinds.items() if keys]
    if faults:
        raise UserError(f"{what} ({'; '.join(faults)}). {advice}")


def other_shape(key: str, has: tuple[int, ...], needs: tuple[int, ...]) -> str:
    """A key of another shape, for `check_keys`."""
    return f"{key} (has {tuple(has)}, needs {tuple(needs)})"


def published_heads(what: str, width: int, others: dict[int, int]) -> int:
    """Attention heads of the published model of that width: no tensor's shape tells them.

    Parameters
    ----------
    what : begins the message
    others : heads by width, of the models that do not have one for 64 features

    Raises
    ------
    UserError
        If there cannot be one.
    """
    if width % 64 and width not in others:
        raise UserError(
            f"{what}: a model {width} wide is none of the published ones, so that its heads are unknown. "
            "Put the model's own config.json beside the file"
        )
    return others.get(width, width // 64)


def count_blocks(state: dict[str, Tensor], beginning: str) -> int:
    """How many blocks a file has, whose keys begin with ``beginning``, a number and a dot."""
    numbers = {key.removeprefix(beginning).split(".")[0] for key in state if key.startswith(beginning)}
    return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


def first_blocks(encoder: str, blocks: nn.ModuleList, layer: int | None) -> nn.ModuleList:
    """The transformer blocks up to ``layer``, all for None: those behind it need not run.

    Raises
    ------
    UserError
        If there are not as many.
    """
    if layer is not None and layer > len(blocks):
        raise UserError(
            f"{encoder}: layer={layer}: the model has {len(blocks)} blocks; choose 1 to {len(blocks)}"
        )
    return blocks[:layer]


def height_and_width(size: int | Sequence[int] | None) -> tuple[int, int]:
    """(y, x) of a picture or patch in a model's configuration, where one number is a square."""
    assert size is not None  # no model can be made of a configuration that lacks it
    y, x = (size, size) if isinstance(size, int) else size
    return y, x


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bar and table of keys: `check_keys` says what matters."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
