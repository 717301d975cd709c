"""The command line of simtrain."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from simdata.common.errors import UserError
from simdata.common.lazy_commands import LazyGroup
from simtrain.common import processes

# Where each command is, and its line in --help: torch and the rest are imported for the one that is called.
COMMANDS = {
    "fit": (
        "fit_commands:fit_command",
        "Train on STORE, or one model on several; stop it at any time, and the same command goes on.",
    ),
    "pretrain": (
        "fit_commands:pretrain_command",
        "Train the encoder alone on STORE, or on several: to fill in hidden patches of BOLD.",
    ),
    "adapt": (
        "adapt_command:adapt_command",
        "Adapt the model of RUN to a new subject of STORE, with minutes of their BOLD.",
    ),
    "config": ("config_commands:config_commands", "Show what can be configured, and list the presets."),
    "retrieve": (
        "retrieve_commands:retrieve_command",
        "Test the model of RUN on STORE: which clip was seen, and which BOLD it gave rise to.",
    ),
    "baseline": (
        "retrieve_commands:baseline_command",
        "Fit baselines on the training set of STORE and test them as `simtrain retrieve` tests a model.",
    ),
    "compare": (
        "compare_command:compare_command",
        "Tell whether RUN does better than OTHER in the retrieval test that both were put to.",
    ),
    "predict": (
        "output_commands:predict_command",
        "Write the embeddings of the model of RUN for every usable window of STORE.",
    ),
    "reconstruct-maps": (
        "output_commands:reconstruct_maps_command",
        "Write what the model of RUN, a pretraining, makes of held-out windows of STORE: GIFTI for wb_view.",
    ),
    "reconstruct": (
        "reconstruct_command:reconstruct_command",
        "Show what the BOLD of held-out windows of STORE says was seen, in pictures of other clips of the "
        "film.",
    ),
    "reproduce": (
        "reproduce_command:reproduce_command",
        "Train and test on STORE what a table of the paper has, beside the published numbers.",
    ),
    "import-weights": (
        "import_command:import_weights_command",
        "Make a run of published weights of SIM (ICLR 2025) or vsMAE, to test on STORE or to train further.",
    ),
    "saliency": (
        "saliency_command:saliency_command",
        "Map the parts of the cortex that the model of RUN relies on, in windows of STORE.",
    ),
    "encode": (
        "encode_command:encode_command",
        "Predict the BOLD of every vertex of STORE from the film's embeddings, and map how well.",
    ),
    "correlate": (
        "correlate_command:correlate_command",
        "Correlate the maps of MAP with those of REFERENCE over the cortex, p by the spin test.",
    ),
}


class _Commands(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is a line and the status that shells know it by, not a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted", err=True)
            ctx.exit(128 + signal.SIGINT)


@click.group(
    cls=_Commands,
    package="simtrain.cli",
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="simdata")
def cli() -> None:
    """Train SIM on movie-watching fMRI, straight from the store that simdata builds."""


def main() -> None:
    """Entry point: a user's mistake is a message and status 1, not a traceback."""
    try:
        with processes.joined():
            cli(prog_name="simtrain")
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
