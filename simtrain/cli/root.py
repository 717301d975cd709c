"""The command line of simtrain."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from simdata.common.errors import UserError
from simtrain.cli.fit_commands import fit_command, pretrain_command
from simtrain.cli.import_command import import_weights_command
from simtrain.cli.output_commands import predict_command, reconstruct_maps_command
from simtrain.cli.reconstruct_command import reconstruct_command
from simtrain.cli.retrieve_commands import baseline_command, retrieve_command
from simtrain.cli.saliency_command import saliency_command
from simtrain.common import distributed


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is a line and the status that shells know it by, not a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted", err=True)
            ctx.exit(128 + signal.SIGINT)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="simdata")
def cli() -> None:
    """Train SIM on movie-watching fMRI, straight from the store that simdata builds."""


for command in (
    fit_command,
    retrieve_command,
    pretrain_command,
    reconstruct_maps_command,
    baseline_command,
    predict_command,
    reconstruct_command,
    import_weights_command,
    saliency_command,
):
    cli.add_command(command)


def main() -> None:
    """Entry point: a user's mistake is a message and status 1, not a traceback."""
    try:
        with distributed.joined():
            cli(prog_name="simtrain")
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
