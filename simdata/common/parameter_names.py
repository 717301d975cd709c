"""Parameters of the library, and the options that a command line has for them: their names and defaults.

A message of the library has a parameter in backticks, such as "`batch_size` is 0: give 1 or more". Who calls
from Python reads it so; on the command line it is "--batch-size is 0: give 1 or more". For that, an option
is named as the parameter that it becomes: ``click.option("--set", "overrides")``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

import click

from simdata.common.errors import UserError

NAME = re.compile(r"`([a-z_]+)`")


class TranslatingGroup(click.Group):
    """Commands whose messages have options in place of parameters."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if command is not None:
                error.args = (with_options(str(error), command),)
            raise


def default(function: Callable[..., object], parameter: str) -> Any:
    """What the library takes for a parameter that is not given."""
    return signature(function).parameters[parameter].default


def with_options(message: str, command: click.Command) -> str:
    """The message with each parameter of a command in backticks as it is typed: ``--set``, ``STORE``."""
    typed = {parameter.name: _typed(parameter) for parameter in command.params}
    return NAME.sub(lambda found: typed.get(found[1], found[0]), message)


def _typed(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name
