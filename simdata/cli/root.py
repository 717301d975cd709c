"""The command line of simdata."""

from __future__ import annotations

import sys

import click

import simdata
from simdata.common.errors import UserError
from simdata.common.lazy_commands import LazyGroup

# Where each command is, and its line in --help: its packages are imported when it is called.
COMMANDS = {
    "build": (
        "build_command:build_command",
        "Convert a release to a store, or continue: CATALOG is a name or a YAML file.",
    ),
    "plays": (
        "plays_command:plays_command",
        "Print which stretch of which film was shown in which run, and what is missing.",
    ),
    "embed": (
        "embedding_commands:embed_command",
        "Add embeddings of the films to STORE, or replace them.",
    ),
    "import-embeddings": (
        "embedding_commands:import_embeddings_command",
        "Add embeddings that you computed elsewhere to STORE, or replace them.",
    ),
    "rechunk": ("store_commands:rechunk_command", "Write STORE to OUT with its BOLD in another layout."),
    "parcellate": (
        "store_commands:parcellate_command",
        "Write STORE to another place with the parcels of ATLAS in place of its vertices.",
    ),
    "resplit": ("store_commands:resplit_command", "Divide the subjects and scenes of STORE into other sets."),
    "bench": (
        "store_commands:bench_command",
        "Measure how fast this machine reads STORE, and would in other layouts: windows of 3 s a second.",
    ),
    "info": ("store_commands:info_command", "Print what is in a store."),
    "catalog": ("catalog_commands:catalog_commands", "The data sets that simdata knows."),
    "splits": (
        "splits_commands:splits_commands",
        "The splits that simdata knows: sets of subjects and scenes.",
    ),
    "encoders": (
        "encoder_commands:encoder_commands",
        "Encoders of the films: what can stand behind --encoder.",
    ),
    "demo": (
        "demo_command:demo_command",
        "Write a synthetic miniature of the release: FOLDER/hcp and FOLDER/movies.",
    ),
}


def main() -> None:
    """Entry point: a UserError is printed as a message, not as a traceback."""
    try:
        cli.main(standalone_mode=True)
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


@click.group(
    cls=LazyGroup,
    package="simdata.cli",
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(simdata.__version__)
def cli() -> None:
    """Movie-watching fMRI and its stimuli as one Zarr store."""
