"""The files beside a model's weights that say how its input is prepared.

transformers' processors write them as preprocessor_config.json, video_preprocessor_config.json or, since
version 5, as parts of processor_config.json. What such a file says is obeyed, or refused with the file, key
and value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError

# Keys that say nothing of the values.
_IDLE = {
    "processor_class",
    "data_format",
    "input_data_format",
    "return_tensors",
    "device",
    "_valid_processor_keys",
}


class ProcessorFile:
    """Gives a file's settings one after the other; `refuse_rest` refuses those that nobody asked for."""

    def __init__(self, encoder: str, path: Path, content: dict[str, Any]) -> None:
        self._encoder, self._path = encoder, path
        # A setting that is null counts as not there, as in transformers.
        self._left = {key: value for key, value in content.items() if value is not None}

    @classmethod
    def find(cls, encoder: str, weights: Path, *parts: str) -> ProcessorFile | None:
        """The one that transformers would read beside a file of weights, None if there is none.

        Parameters
        ----------
        parts : of processor_config.json, such as "image_processor", the best first

        Raises
        ------
        UserError
            If it is no JSON.
        """
        whole = weights.with_name("processor_config.json")
        if whole.is_file():
            content = _load(encoder, whole)
            for part in parts:
                if isinstance(content.get(part), dict):
                    return cls(encoder, whole, content[part])
        names = ["preprocessor_config.json"]
        if "video_processor" in parts:
            names.insert(0, "video_preprocessor_config.json")
        for name in names:
            if (path := weights.with_name(name)).is_file():
                return cls(encoder, path, _load(encoder, path))
        return None

    @property
    def name(self) -> str:
        return self._path.name

    def take(
        self,
        key: str,
        fits: Callable[[Any], bool] = lambda value: True,
        supported: str = "",
        default: Any = None,
    ) -> Any:
        """The value of a setting, ``default`` if it is not there.

        Raises
        ------
        UserError
            If it does not fit; the message goes on with what is ``supported``.
        """
        value = self._left.pop(key, None)
        if value is None:
            return default
        if (supported and isinstance(value, list | dict)) or not fits(value):
            raise self.refused(key, value, f"supported are {supported}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A setting that is true or false."""
        return self.take(key, lambda value: isinstance(value, bool), "true and false", default)

    def refuse_rest(self, idle: Collection[str] = ()) -> None:
        """Raise a UserError for a setting that was not taken, unless it is false or in ``idle``."""
        for key, value in self._left.items():
            if key not in _IDLE and key not in idle and value is not False:
                raise self.refused(key, value, "simdata does not know this setting")

    def refused(self, key: str, value: Any, why: str) -> UserError:
        shown = json.dumps(value, default=str)
        shown = shown if len(shown) < 200 else f"{shown[:200]} ..."
        return UserError(f"{self._encoder}: {self._path}: {key} = {shown} is not supported: {why}")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_length(value: Any) -> bool:
    """Whether it is a number of pixels, samples or the like."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _load(encoder: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{encoder}: {path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{encoder}: {path}: holds a {type(content).__name__}, no settings by name")
    return content
