import subprocess
import sys

import pytest
from click.testing import CliRunner
from command_line import call

from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.config.reference import keys
from simtrain.config.schema import Config, PretrainConfig, changes


def _rows(printed: str) -> dict[str, str]:
    """First line of each key's row, by key."""
    lines = (line.removeprefix("*").split(maxsplit=1) for line in printed.splitlines() if line[2:3].strip())
    return {words[0]: words[1] for words in lines if len(words) == 2}


@pytest.mark.parametrize(("kind", "options"), [(Config, []), (PretrainConfig, ["--pretrain"])])
def test_show_has_every_key_of_the_kind(kind, options):
    rows = _rows(call("config", "show", *options))
    assert set(keys(kind)) <= set(rows)
    assert ("mae.ratio" in rows) == (kind is PretrainConfig)
    assert ("modalities" in rows) == (kind is Config)


def test_what_a_preset_changes_is_marked_and_stands_over_its_default():
    lines = call("config", "show", "demo").splitlines()
    place = next(i for i, line in enumerate(lines) if "train.steps" in line)
    assert lines[place].startswith("* train.steps ")
    assert lines[place].split()[2] == "200"
    assert lines[place + 1].split()[:2] == ["(default", "20000)"]
    assert any(line.startswith("  train.accumulate ") for line in lines)
    marked = {line.split()[1] for line in lines if line.startswith("* ")} & set(keys(Config))
    assert marked == set(changes(Config(), load("demo")))


def test_every_meaning_and_range_is_whole_in_80_columns():
    lines = call("config", "show").splitlines()
    assert max(map(len, lines)) <= 80
    told = "".join("".join(line[lines[0].index("meaning") :].split()) for line in lines)
    for key in keys(Config).values():
        assert "".join(f"{key.meaning}{key.allowed}".split()) in told


def test_show_takes_a_file_and_weights_of_pairs_by_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("modalities: [fmri, video_clip]\nloss: {weights: {fmri_video_clip: 0.7}}")
    rows = _rows(call("config", "show", file))
    assert rows["loss.weights.fmri_video_clip"].split()[0] == "0.7"


def test_an_unknown_preset_is_a_message():
    result = CliRunner().invoke(cli, ["config", "show", "sim-huge"])
    assert "no configuration 'sim-huge'" in str(result.exception)


def test_list_has_the_presets_of_both_kinds_with_what_they_change():
    printed = call("config", "list")
    fit, pretrain = printed.split("simtrain pretrain")
    assert "model.dim=768 model.heads=12" in " ".join(fit.split())
    assert all(
        name in part for part in (fit, pretrain) for name in ("demo", "sim-base", "sim-small", "sim-tiny")
    )
    assert "mae.decoder_dim=64" in pretrain


def test_it_is_shown_without_torch():
    code = """
import sys
from simtrain.cli.root import cli
cli(["config", "show"], standalone_mode=False)
print(sorted({"torch", "numba", "xarray", "zarr"} & set(sys.modules)))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
