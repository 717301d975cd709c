"""Settings of the retrieval test that may differ between modalities of the stimulus: ``pool`` and ``gap``.

Such a setting is one value, or a mapping whose keys are kinds, such as ``video``, or modalities by name, such
as ``video_clip``. What is said of a modality by name counts for it, else what is said of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from simdata.common.errors import UserError
from simtrain.config import modalities

PoolSize = int | Literal["movie"]
Pool = PoolSize | Mapping[str, PoolSize]
Gap = int | Mapping[str, int]


def of_modality(parameter: str, setting: Any, modality: str) -> Any:
    """The value of a setting for one modality of the stimulus.

    Raises
    ------
    UserError
        If it is a mapping that has none.
    """
    if not isinstance(setting, Mapping):
        return setting
    for name in (modality, modalities.kind(modality)):
        if name in setting:
            return setting[name]
    raise UserError(
        f"`{parameter}` {as_text(setting)}: says nothing of {modality}, which is tested: add it, or give one "
        "number for all"
    )


def values(parameter: str, setting: Any) -> list[Any]:
    """All values of a setting.

    Raises
    ------
    UserError
        If it is a mapping of nothing, or a key is no modality of the stimulus.
    """
    if not isinstance(setting, Mapping):
        return [setting]
    if not setting:
        raise UserError(f"{parameter}: is an empty mapping: name modalities, such as video")
    for name in setting:
        if name == "fmri" or not re.fullmatch(f"{modalities.PATTERN}|[a-z][a-z0-9]*", str(name)):
            raise UserError(
                f"{parameter}: {name!r} is no modality of the stimulus, such as video, audio or video_clip"
            )
    return list(setting.values())


def as_text(setting: Any) -> str:
    """As on the command line: ``32``, or ``video=64,audio=32``."""
    if not isinstance(setting, Mapping):
        return str(setting)
    return ",".join(f"{name}={value}" for name, value in setting.items())


def in_words(setting: Any, unit: str = "") -> str:
    """``4 s``, or ``4 s (video) and 1 s (audio)``."""
    if not isinstance(setting, Mapping):
        return f"{setting}{unit}"
    *most, last = (f"{value}{unit} ({name})" for name, value in setting.items())
    return f"{', '.join(most)} and {last}" if most else last
