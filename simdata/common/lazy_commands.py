"""Command lines that import a command when it is called: --help waits for none of their packages."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from simdata.common.parameter_names import TranslatingGroup

Places = Mapping[str, tuple[str, str]]  # a command's name -> (module:object, its line in --help)


class LazyGroup(TranslatingGroup):
    """Commands by where they are.

    Parameters
    ----------
    package : below which the modules of ``places`` lie
    """

    def __init__(self, *args: Any, package: str, places: Places, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._package, self._places = package, places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._places:
            return None
        module, name = self._places[cmd_name][0].split(":")
        with _ctrl_c_ends_at_once():
            command: click.Command = getattr(import_module(f"{self._package}.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._places[name][1]) for name in self.list_commands(ctx)])


@contextmanager
def _ctrl_c_ends_at_once() -> Iterator[None]:
    """While packages are imported that take seconds: in silence, and not as a traceback from their midst."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
