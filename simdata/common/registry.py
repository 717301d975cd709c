"""What other packages can add: objects registered by name under an entry point group.

    [options.entry_points]
    simdata.encoders =
        mine = my_package.my_module:MyEncoder

Ours are registered in the same way. Where a name is asked for, ``my_module:MyEncoder``, an object that Python
can import, does too, so that a notebook needs no package. The form is that of Python's packaging (the entry
points specification).
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from simdata.common.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """The names of one entry point group.

    Attributes
    ----------
    group : such as ``simdata.encoders``
    noun : what one of them is called in messages, such as ``encoder``
    needs : what to install where a package that one of ours needs is missing

    Examples
    --------
    >>> encoders = Registry("simdata.encoders", "encoder")
    >>> "logmel" in encoders.names()
    True
    >>> encoders.load("logmel").__name__
    'LogMel'
    """

    group: str
    noun: str
    needs: str = "simdata"

    def names(self) -> list[str]:
        """Those that are registered, in the order of the alphabet."""
        return sorted(self._entries())

    def must_have(self, text: str) -> None:
        """Raise a UserError unless a name is registered, or may be imported; nothing is imported."""
        if ":" not in text:
            self._entry(text)

    def load(self, text: str) -> Any:
        """What is registered by a name, or lies at ``module:object``; imports what it needs.

        Raises
        ------
        UserError
            If there is no such thing, two packages register the name, or it cannot be imported. A fault
            inside of a module that ``module:object`` names stays one: its traceback tells where.
        """
        return self._imported(text) if ":" in text else self._loaded(self._entry(text))

    def subclass(self, text: str, *bases: type[T]) -> type[T]:
        """A class by `load`, which must be one of ``bases`` or below.

        Raises
        ------
        UserError
            As `load`, and if it is none.
        """
        found = self.load(text)
        if not isinstance(found, type) or not issubclass(found, bases):
            known = " or ".join(base.__name__ for base in bases)
            raise UserError(f"{self.noun} {self.place(text)}: is no subclass of {known}")
        return found

    def must_take(
        self, text: str, function: Callable[..., object], *arguments: str, keywords: Sequence[str] = ()
    ) -> None:
        """Raise a UserError unless a class, or a function of one, can be called with what it will be given.

        Parameters
        ----------
        text : by which the class was found
        arguments, keywords : what stands for the arguments that are given in order, and by their names
        """
        signature = inspect.signature(function)
        try:
            signature.bind(*arguments, **dict.fromkeys(keywords))
        except TypeError:
            raise UserError(
                f"{self.noun} {self.place(text)}: {function.__name__}{signature} cannot be called with "
                f"({', '.join([*arguments, *keywords])})"
            ) from None

    def place(self, text: str) -> str:
        """A name with the package that registers it, for messages."""
        if ":" in text:
            return text
        entry = self._entry(text)
        return f"{text} of {_package(entry)} ({entry.value})"

    def package(self, text: str) -> str | None:
        """The package that registers a name; None for ``module:object``."""
        return None if ":" in text else _package(self._entry(text))

    def _entries(self) -> Mapping[str, Sequence[EntryPoint]]:
        return _registered(self.group, tuple(_places()))

    def _entry(self, name: str) -> EntryPoint:
        found = self._entries()
        if not found:
            raise UserError(
                f"no {self.noun} {name!r}: none is registered; give one of yours as package.module:name, "
                "or install simdata again with pip"
            )
        if name not in found:
            known = ", ".join([*sorted(found), "or one of yours as package.module:name"])
            raise UserError(f"no {self.noun} {name!r}: choose from {known}")
        first, *others = found[name]
        if any(other.value != first.value for other in others):
            packages = " and ".join(sorted(map(_package, found[name])))
            raise UserError(f"{self.noun} {name} is registered by {packages}: uninstall all but one")
        return first

    def _loaded(self, entry: EntryPoint) -> Any:
        package = _package(entry)
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            ours = package == "simdata"
            remedy = f"pip install '{self.needs}'" if ours else f"see how {package} is installed"
            raise UserError(f"{self.noun} {entry.name} needs the package {error.name}: {remedy}") from None
        except Exception as error:  # another package's code may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"{self.noun} {entry.name} of {package} cannot be imported ({entry.value}: {reason})"
            ) from None

    def _imported(self, text: str) -> Any:
        module, _, name = text.partition(":")
        try:
            found = import_module(module) if module else None
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise UserError(f"{self.noun} {text}: there is no module {error.name} on Python's path") from None
        if not module or not hasattr(found, name):
            raise UserError(f"{self.noun} {text}: {module or 'it'} has no {name or 'name'}")
        return getattr(found, name)


@lru_cache(maxsize=32)
def _registered(group: str, places: tuple[tuple[str, int], ...]) -> Mapping[str, Sequence[EntryPoint]]:
    """The entries of a group by name, as long as Python's path stays as it is: looking takes some ms."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, []).append(entry)
    return found


def _places() -> Iterator[tuple[str, int]]:
    """The folders of Python's path with their times of change, which an installation sets."""
    for place in sys.path:
        try:
            yield place, os.stat(place or os.curdir).st_mtime_ns
        except OSError:  # Python passes it over too
            yield place, 0


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unnamed package"
