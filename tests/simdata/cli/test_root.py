"""The table of commands, and what it costs to see it."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from simdata.cli.root import COMMANDS, cli


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_in_help_is_its_own_first(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name
    assert COMMANDS[name][1] == command.get_short_help_str(200)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_that_takes_long(option):
    code = f"""
import sys
from simdata.cli import main
sys.argv = ["simdata", "{option}"]
try:
    main()
finally:
    heavy = {{"torch", "numba", "numpy", "xarray", "zarr", "pydantic", "rich"}}
    print(sorted(heavy & set(sys.modules)))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
    assert ("rechunk" in printed) == (option == "--help")


def test_a_command_that_is_not_there_is_a_message():
    result = CliRunner().invoke(cli, ["bild"])
    assert result.exit_code == 2
    assert "No such command 'bild'" in result.output
