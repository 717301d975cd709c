"""Encoders of the stimulus, by name.

An encoder is a class registered under the entry point group ``simdata.encoders``, ours as those of others:

    [options.entry_points]
    simdata.encoders =
        mine = my_package.my_module:MyEncoder
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from itertools import combinations

from simdata.common.errors import UserError
from simdata.common.pydantic_faults import key_values, validate
from simdata.encoders.base import AudioEncoder, Encoder, Grid, Settings, VideoEncoder, uniform_frames

__all__ = [
    "AudioEncoder",
    "Encoder",
    "Grid",
    "Settings",
    "VideoEncoder",
    "create",
    "create_all",
    "find",
    "names",
    "uniform_frames",
]

GROUP = "simdata.encoders"


def names() -> list[str]:
    """The encoders that are installed."""
    return sorted(_registered())


def find(name: str) -> type[Encoder]:
    """The class of an encoder; imports what it needs, such as torch.

    Raises
    ------
    UserError
        If there is none of that name, it cannot be imported, or it is no encoder.
    """
    registered = _registered()
    if name not in registered:
        raise UserError(f"no encoder {name!r}: choose from {', '.join(sorted(registered))}")
    entry = registered[name]
    package = entry.dist.name if entry.dist else "its package"
    try:
        found = entry.load()
    except ModuleNotFoundError as error:
        ours = package == "simdata"
        remedy = "pip install 'simdata[encoders]'" if ours else f"see how {package} is installed"
        raise UserError(f"encoder {name} needs the package {error.name}: {remedy}") from None
    except Exception as error:  # another package's code may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"encoder {name} of {package} cannot be imported ({entry.value}: {reason})") from None
    if not isinstance(found, type) or not issubclass(found, VideoEncoder | AudioEncoder):
        raise UserError(
            f"encoder {name} of {package}: {entry.value} is no subclass of VideoEncoder or AudioEncoder"
        )
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


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
