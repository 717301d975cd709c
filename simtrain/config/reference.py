"""What every key of a configuration means and may be, read from the schema itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from simtrain.config.composition import load, presets
from simtrain.config.schema import BaseConfig, Config, PretrainConfig, changes

KINDS: dict[str, type[BaseConfig]] = {"fit": Config, "pretrain": PretrainConfig}  # by simtrain's command
Schema = Mapping[str, Any]  # JSON Schema, which pydantic makes of a model


class Key(NamedTuple):
    """One key.

    Attributes
    ----------
    name : with dots; ``loss.weights.*`` stands for any further name
    allowed : type and range, or the choices
    default : as YAML; None for ``*``, which need not be given
    """

    name: str
    meaning: str
    allowed: str
    default: str | None


class Group(NamedTuple):
    """The keys that stand side by side, such as those of ``train``; ``name`` is empty at the top."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


def groups(kind: type[BaseConfig]) -> list[Group]:
    """All keys of a kind of configuration, in the order of the schema."""
    schema = kind.model_json_schema()
    return list(_groups("", schema, schema["$defs"]))


def keys(kind: type[BaseConfig]) -> dict[str, Key]:
    """The same by name."""
    return {key.name: key for group in groups(kind) for key in group.keys}


def settings_of_presets(kind: type[BaseConfig]) -> dict[str, list[str]]:
    """Name of each preset of a kind -> where it differs from the defaults, as ``key=value``."""
    found = {name: changes(kind(), load(name, kind=kind)) for name in presets(kind)}
    return {
        name: [f"{key}={written(value)}" for key, (_, value) in differing.items()]
        for name, differing in found.items()
    }


def written(value: Any) -> str:
    """A value as it stands in YAML, in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def _groups(name: str, schema: Schema, definitions: Schema) -> Iterator[Group]:
    prefix, inner, found = f"{name}." if name else "", [], []
    for key, field in schema["properties"].items():
        if "$ref" in field:
            definition = definitions[field["$ref"].rpartition("/")[2]]
            inner.append((prefix + key, definition))
        else:
            found.append(_key(prefix + key, field))
    if isinstance(further := schema["additionalProperties"], Mapping):
        found.append(_key(f"{prefix}*", further))
    if found:
        yield Group(name, schema["description"], tuple(found))
    for key, definition in inner:
        yield from _groups(key, definition, definitions)


def _key(name: str, field: Schema) -> Key:
    default = written(field["default"]) if "default" in field else None
    return Key(name, field["description"], _allowed(field), default)


def _allowed(field: Schema) -> str:
    if "anyOf" in field:
        return " or ".join(map(_allowed, field["anyOf"]))
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if field["type"] == "array":
        return f"{field['minItems']} or more of {_allowed(field['items'])}"
    if field["type"] == "boolean":
        return "true, false"
    if field["type"] == "string":
        return field.get("format") or field.get("pattern", "text").removeprefix("^(").removesuffix(")$")
    return " ".join([field["type"], ", ".join(_bounds(field))]).strip()


def _bounds(field: Schema) -> Iterator[str]:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    yield from (f"{sign} {field[bound]:g}" for bound, sign in signs.items() if bound in field)
    if "multipleOf" in field:
        yield f"a multiple of {field['multipleOf']}"
