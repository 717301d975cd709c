"""A configuration put together: a preset or a YAML file, and on top of it what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, overload

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simtrain.config.schema import BaseConfig, Config, SomeConfig

DEFAULT_PRESET = "sim-tiny"

Asked = Sequence[tuple[str, Any]]  # what was asked for, in words and as nested keys


def parse(data: Any, origin: str, kind: type[SomeConfig]) -> SomeConfig:
    """Validate what YAML gave; ``origin`` names the file in messages.

    Raises
    ------
    UserError
        If keys are unknown or values unfit; every fault is listed with its key.
    """
    return validate(kind, {} if data is None else data, f"{origin} is not a valid configuration")


@overload
def load(name_or_path: str, overrides: Iterable[str] = (), modalities: str | None = None) -> Config: ...


@overload
def load(
    name_or_path: str, overrides: Iterable[str] = (), modalities: str | None = None, *, kind: type[SomeConfig]
) -> SomeConfig: ...


def load(
    name_or_path: str,
    overrides: Iterable[str] = (),
    modalities: str | None = None,
    *,
    kind: type[BaseConfig] = Config,
) -> BaseConfig:
    """A shipped preset by name or a YAML file by path, with ``key=value`` overrides on top.

    Parameters
    ----------
    overrides : texts such as ``train.steps=100``; the value is read as YAML
    modalities : their names with commas between them
    """
    data, origin = _read(name_or_path, kind)
    return overridden(data, origin, overrides, modalities, kind)


def overridden(
    data: Any, origin: str, overrides: Iterable[str], modalities: str | None, kind: type[SomeConfig]
) -> SomeConfig:
    """Compose as `load` does, from what ``origin`` gave.

    What is asked for counts together: its order does not matter, but for a key that is given twice.
    """
    parse(data, origin, kind)
    asked = [(f"`overrides` {override}", _nested(override)) for override in overrides]
    if modalities is not None:
        names = [name.strip() for name in modalities.split(",")]
        asked.insert(0, (f"`modalities` {modalities}", {"modalities": names}))
    try:
        return parse(_all_merged(data, asked), origin, kind)
    except UserError:
        blamed = [one for one in asked if _fits(data, [other for other in asked if other is not one], kind)]
        # Where several are wrong, or none by itself, all are named.
        said = " and ".join(text for text, _ in (blamed if len(blamed) == 1 else asked))
        return parse(_all_merged(data, asked), f"{origin} with {said}" if said else origin, kind)


def _fits(data: Any, asked: Asked, kind: type[BaseConfig]) -> bool:
    try:
        parse(_all_merged(data, asked), "", kind)
    except UserError:
        return False
    return True


def _all_merged(data: Any, asked: Asked) -> Any:
    for _, nested in asked:
        data = _merge(data, nested)
    return data


def presets(kind: type[BaseConfig] = Config) -> dict[str, str]:
    """Name -> text of the configurations of a kind that come with simtrain."""
    folder = files("simtrain.config.presets") / kind.folder
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {
        entry.name.removesuffix(".yaml"): entry.read_text() for entry in sorted(found, key=lambda e: e.name)
    }


def _read(name_or_path: str, kind: type[BaseConfig]) -> tuple[Any, str]:
    path, known = Path(name_or_path), presets(kind)
    if name_or_path in known:
        text, origin = known[name_or_path], f"preset {name_or_path}"
    elif is_there(path):
        text, origin = read_text(path), str(path)
    else:
        raise UserError(
            f"no configuration {name_or_path!r}: give the path of a YAML file or one of {', '.join(known)}"
        )
    return read_yaml(text, origin), origin


def read_yaml(text: str, origin: str) -> Any:
    """What is in a YAML text, and {} if there is nothing; ``origin`` names it in messages."""
    data = parse_yaml(text, origin)
    return {} if data is None else data


def _nested(override: str) -> Any:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"`overrides` {override}: write key=value, such as train.steps=1000")
    nested = parse_yaml(value, f"`overrides` {override}: the value")
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _merge(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: _merge(base.get(key), value) for key, value in top.items()}}
