import click
import pytest
from click.testing import CliRunner

from simdata.common.errors import DamagedStore, UserError
from simdata.common.parameter_names import TranslatingGroup


@click.group(cls=TranslatingGroup)
def cli():
    pass


@cli.group(cls=TranslatingGroup)
def inner():
    pass


@cli.command()
@click.argument("store")
@click.option("--set", "overrides", multiple=True)
@click.option("--hard/--soft", default=False)
@click.option("-o", "--out-folder")
@click.argument("message")
def fit(message, **_):
    raise UserError(message)


@inner.command()
@click.option("--wide", "width")
@click.argument("message")
def deep(message, **_):
    raise DamagedStore(message)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("`overrides` a=b: write key=value", "--set a=b: write key=value"),
        ("`hard` needs `store`", "--hard needs STORE"),
        ("`out_folder` is there", "--out-folder is there"),
        ("`unknown` and `git lfs pull` stay", "`unknown` and `git lfs pull` stay"),
    ],
)
def test_a_parameter_in_backticks_is_told_as_it_is_typed(message, told):
    result = CliRunner().invoke(cli, ["fit", "s.zarr", message])
    assert type(result.exception) is UserError
    assert str(result.exception) == told


def test_of_commands_in_groups_too_and_the_kind_of_error_stays():
    result = CliRunner().invoke(cli, ["inner", "deep", "`width` and `overrides`"])
    assert type(result.exception) is DamagedStore
    assert str(result.exception) == "--wide and `overrides`"
