"""A model of several embeddings of one kind, and of a kind of its own, through every command."""

import json

import pytest
import xarray as xr
from click.testing import CliRunner
from command_line import call, sets

from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training.run_folder import FitRun

NAMES = ("video_shapes", "video_noise", "audio_tones", "text_words")
MODALITIES = "fmri," + ",".join(NAMES)
TRAINING = ["model.ico=1", "model.dim=32", "model.depth=1", "model.dim_head=32", "train.steps=60"]
TRAINING += ["train.batch_size=32", "train.learning_rate=4e-3", "train.validation_samples=32"]


@pytest.fixture(scope="module")
def run(rich_store, tmp_path_factory):
    out = tmp_path_factory.mktemp("named") / "run"
    call("fit", rich_store, "--config", "demo", "--modalities", MODALITIES, *sets(TRAINING), "--out", out)
    return out


def test_each_embedding_is_trained_and_tested_by_its_name(run, rich_store):
    call(
        "retrieve",
        run,
        rich_store,
        "--experiment",
        "new-subjects",
        "--pool",
        "8",
        "--clips",
        "20",
        "--draws",
        "2",
    )
    written = json.loads((run / "retrieval.json").read_text())
    found, weights = written["experiments"]["new-subjects"]["directions"], written["joint"]["weights"]
    assert set(weights) == set(NAMES)
    tested = [*NAMES, "+".join(weights)]
    assert set(found) == {d for name in tested for d in (f"fmri->{name}", f"{name}->fmri")}
    assert weights["video_noise"] < weights["video_shapes"]
    assert found["fmri->video_shapes"]["top-1"]["mean"] > 0.3  # chance: 0.125
    assert found["fmri->video_shapes"]["top-1"]["mean"] > found["fmri->video_noise"]["top-1"]["mean"] + 0.1
    assert found["fmri->text_words"]["top-1"]["mean"] > 0.2
    logged = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert "train/fmri-video_noise" in logged
    assert "train/video_shapes-video_noise" not in logged  # a pair of one kind has no weight


def test_the_other_commands_know_the_names(run, rich_store, tmp_path):
    call("predict", run, rich_store, "--out", tmp_path / "predicted.zarr")
    with xr.open_zarr(tmp_path / "predicted.zarr") as predicted:
        assert set(NAMES) < set(predicted.data_vars)
        assert predicted.video_noise.attrs["encoder"] == "noise"
    call("saliency", run, rich_store, "--modality", "video_noise", "--steps", "1", "--windows", "2")
    assert list((run / "saliency").glob("integrated-gradients.video_noise*"))
    call("reconstruct", run, rich_store, "--experiment", "new-subjects")
    ridge = ("--kind", "ridge", "--config", "demo", "--modalities", MODALITIES, "--ico", "1")
    pools = ("--experiment", "new-subjects", "--pool", "8", "--clips", "20", "--draws", "2")
    call("baseline", rich_store, "--out", tmp_path / "baselines", *ridge, *pools)
    found = json.loads((tmp_path / "baselines/ridge/retrieval.json").read_text())
    assert "fmri->video_noise" in found["experiments"]["new-subjects"]["directions"]


def test_an_unknown_modality_of_saliency_lists_the_models_own(run, rich_store):
    result = CliRunner().invoke(cli, ["saliency", str(run), str(rich_store), "--modality", "video"])
    assert result.exit_code != 0
    assert "video_shapes, video_noise, audio_tones, text_words" in str(result.output) + str(result.exception)


def test_a_short_name_stands_beside_a_full_one_unless_they_are_the_same(rich_store):
    dataset = open_dataset(rich_store)
    config = resolve(load("demo", ["data.video=shapes"], "fmri,video,video_noise"), dataset)
    assert [config.variable(name) for name in config.stimuli] == ["video_shapes", "video_noise"]
    with pytest.raises(UserError, match="video_noise is in use twice"):
        resolve(load("demo", ["data.video=noise"], "fmri,video,video_noise"), dataset)


def test_an_embedding_that_is_not_there_is_named_beside_those_that_are(rich_store):
    with pytest.raises(UserError, match=r"no embedding video_clip .*video_noise, video_shapes, audio_tones"):
        resolve(load("demo", [], "fmri,video_clip"), open_dataset(rich_store))


def test_a_run_keeps_its_names(run):
    assert FitRun.open(run).config.stimuli == NAMES
