import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from simtrain.cli.root import COMMANDS, cli, main

FIT = ["--config", "demo", "--device", "cpu"]
for text in ("model.ico=1", "model.dim=8", "model.depth=1", "train.steps=3", "train.batch_size=8"):
    FIT += ["--set", text]


def _invoke(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    result = _invoke("fit", store, "--out", out, *FIT)
    assert result.exit_code == 0, result.output
    assert f"simtrain retrieve {out} {store}" in result.output
    return out


def test_retrieve_prints_a_table_and_writes_it(run, store):
    result = _invoke("retrieve", run, store, "--experiment", "new-subjects", "--draws", 2, "--clips", 20)
    assert result.exit_code == 0, result.output
    assert "fmri->video" in result.output
    assert "pool of 32, same-movie negatives, lag 6 s" in " ".join(result.output.split())
    written = json.loads((run / "retrieval.json").read_text())
    assert list(written["experiments"]) == ["new-subjects"]


def test_without_options_an_existing_run_goes_on_with_its_own(run, store):
    result = _invoke("fit", store, "--out", run)
    assert result.exit_code == 0, result.output
    assert "finished: all 3 steps are done" in result.output


def test_a_users_mistake_is_a_message_and_status_1(run, store, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["simtrain", "fit", str(store), "--out", str(run), "--set", "train.stepz=1"]
    )
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith(f"Error: {run}/config.yaml with --set train.stepz=1")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "s.zarr", "--out", "s3://bucket/run"],
        ["pretrain", "s.zarr", "--out", "s3://bucket/run"],
        ["retrieve", "https://example.org/run", "s.zarr"],
        ["predict", "run", "s.zarr", "--out", "s3://bucket/p.zarr"],
        ["baseline", "s.zarr", "--out", "gs://bucket/b"],
        ["saliency", "run", "s.zarr", "--out", "s3://bucket/maps"],
    ],
)
def test_a_url_is_not_taken_for_a_folder_of_that_name(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "is a URL; give a path of this machine" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_in_help_is_its_own_first(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name
    assert COMMANDS[name][1] == command.get_short_help_str(200)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_that_takes_seconds(option):
    code = f"""
import sys
from simtrain.__main__ import main
sys.argv = ["simtrain", "{option}"]
try:
    main()
finally:
    print(sorted({{"torch", "numba", "xarray", "zarr", "pydantic", "rich"}} & set(sys.modules)))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
    assert ("retrieve" in printed) == (option == "--help")


def test_a_command_that_is_not_there_is_a_message():
    result = _invoke("fitt", "s.zarr")
    assert result.exit_code == 2
    assert "No such command 'fitt'" in result.output
