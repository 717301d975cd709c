"""Methods that remember what they gave."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar
from weakref import WeakMethod

Given = ParamSpec("Given")
Result = TypeVar("Result")


def remembering(method: Callable[Given, Result], most: int) -> Callable[Given, Result]:
    """A bound method that remembers its last ``most`` results, for the methods of its object to call.

    A `functools.lru_cache` of it, kept by the method's object, would be a circle: what it holds, such as
    maps of files, would stay until Python looks for circles, which is rare in a process with many objects.
    """
    weak = WeakMethod(method)

    def call(*given: Given.args, **named: Given.kwargs) -> Result:
        bound = weak()
        assert bound is not None, "the object keeps what is called"
        return bound(*given, **named)

    return lru_cache(most)(call)  # type: ignore[return-value]  # typeshed says Hashable of all arguments
