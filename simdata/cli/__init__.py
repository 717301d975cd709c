"""The command line of simdata, a module for each group of commands."""

from simdata.cli.root import cli, main

__all__ = ["cli", "main"]
