"""Encoders of the stimulus, by name.

An encoder is a class registered under the entry point group ``simdata.encoders``
(`simdata.common.registry`), ours as those of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from simdata.common.errors import UserError
from simdata.common.pydantic_faults import key_values, validate
from simdata.common.registry import Registry
from simdata.encoders.base import (
    AudioEncoder,
    Encoder,
    Grid,
    Settings,
    TextEncoder,
    VideoEncoder,
    uniform_frames,
    valid_modality,
)

__all__ = [
    "AudioEncoder",
    "Encoder",
    "Grid",
    "Settings",
    "TextEncoder",
    "VideoEncoder",
    "create",
    "create_all",
    "find",
    "names",
    "uniform_frames",
]

REGISTRY = Registry("simdata.encoders", "encoder", needs="simdata[encoders]")


def names() -> list[str]:
    """The encoders that are installed."""
    return REGISTRY.names()


def find(name: str) -> type[Encoder]:
    """The class of an encoder, by name or ``module:class``; imports what it needs, such as torch.

    Raises
    ------
    UserError
        If there is none of that name, it cannot be imported, or it is no encoder.
    """
    found = REGISTRY.subclass(name, VideoEncoder, AudioEncoder, TextEncoder)
    try:
        valid_modality(found.modality)
    except ValueError as error:
        raise UserError(f"encoder {REGISTRY.place(name)}: {error}") from None
    return found


def create(text: str) -> Encoder:
    """An encoder with its settings, written as ``name,key=value,...``.

    Raises
    ------
    UserError
        If there is no such encoder or setting, or its weights are missing or do not fit.
    """
    name, *pairs = text.split(",")
    encoder = find(name)
    settings = key_values(pairs, f"encoder {text}", "window=3")
    try:
        valid = validate(encoder.Settings, settings, f"encoder {text} has invalid settings")
    except UserError as error:
        raise UserError(str(error).replace(":\n  ", ": ", 1).replace("\n  ", "; ")) from None
    return encoder(valid)


def create_all(texts: Sequence[str]) -> list[Encoder]:
    """Encoders by `create`, which must differ in the arrays that they write."""
    encoders = [create(text) for text in texts]
    arrays = [encoder.array for encoder in encoders]
    if twice := sorted({array for array in arrays if arrays.count(array) > 1}):
        raise UserError(f"two encoders would write {twice[0]}: give one of them another name, as name=...")
    for one, other in combinations(encoders, 2):
        # The name is that of a dimension too, which has one length in a store.
        if one.name == other.name and one.features != other.features:
            raise UserError(
                f"{one.array} and {other.array} differ in their number of features: give one of them another "
                "name, as name=..."
            )
    return encoders
