"""Calling simtrain's command line in tests."""

from click.testing import CliRunner

from simtrain.cli.root import cli


def call(*arguments: object) -> str:
    """Run simtrain, which must end well; what it printed."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def sets(overrides: list[str]) -> list[str]:
    """``--set`` before each."""
    return [word for override in overrides for word in ("--set", override)]
