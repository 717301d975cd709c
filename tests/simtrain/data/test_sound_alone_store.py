"""A store of stories, which has sound and words and no pictures, through every command."""

import json
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
from command_line import call, sets

import simtrain
from simdata.common.errors import UserError
from simtrain.data.dataset import open_dataset
from simtrain.data.film_frames import films_with
from simtrain.data.windows import Windows

TRAINING = ["model.ico=1", "model.dim=32", "model.depth=1", "model.dim_head=32", "train.steps=60"]
TRAINING += ["train.batch_size=32", "train.learning_rate=4e-3", "train.validation_samples=32"]
POOLS = ("--experiment", "new-subjects", "--pool", "8", "--clips", "20", "--draws", "2")


@pytest.fixture(scope="module")
def stories(rich_store, tmp_path_factory):
    """The small store with one embedding of sound and one of words, and sound for the second movie alone."""
    path = tmp_path_factory.mktemp("stories") / "stories.zarr"
    with xr.open_zarr(rich_store, chunks=None) as store:
        kept = store.drop_vars(["frame", "video_shapes", "video_noise"]).load()
    rng = np.random.default_rng(0)
    sound = rng.integers(-9_000, 9_000, (2, store.sizes["second"], 16_000)).astype(np.int16)
    kept["waveform"] = xr.Variable(("movie", "second", "sample"), sound)
    records = [json.dumps({"modalities": modalities}) for modalities in ([], ["audio"])]
    kept["film_source"] = xr.Variable("movie", np.array(records, object))
    kept = kept.drop_encoding()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept.to_zarr(path, zarr_format=3, consolidated=True)
    shutil.rmtree(path / "bold")
    shutil.copytree(rich_store / "bold", path / "bold")
    return path


@pytest.fixture(scope="module")
def run(stories, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    call("fit", stories, "--config", "demo", "--modalities", "fmri,audio,text", *sets(TRAINING), "--out", out)
    return out


def test_sound_and_words_are_retrieved_and_sheets_show_the_sound(run, stories):
    call("retrieve", run, stories, *POOLS, "--best-and-worst", 2)
    written = json.loads((run / "retrieval.json").read_text())
    found = written["experiments"]["new-subjects"]["directions"]
    assert set(found) == {f"fmri->{m}" for m in ("audio", "text", "audio+text")} | {
        f"{m}->fmri" for m in ("audio", "text", "audio+text")
    }
    assert found["fmri->text"]["top-1"]["mean"] > 0.25  # chance: 0.125
    assert (run / "retrieval/best-new-subjects.png").stat().st_size > 10_000
    assert films_with(open_dataset(stories), "audio").tolist() == [False, True]
    assert not films_with(open_dataset(stories), "video").any()


def test_the_other_commands_take_what_there_is(run, stories, tmp_path):
    call("predict", run, stories, "--out", tmp_path / "predicted.zarr")
    words = ("--config", "demo", "--modalities", "fmri,text", "--ico", "1")
    call("baseline", stories, "--out", tmp_path / "baselines", "--kind", "ridge", *words, *POOLS)
    call("retrieve", run, stories, *POOLS)
    call("compare", run, tmp_path / "baselines/ridge")
    call("saliency", run, stories, "--modality", "text", "--steps", "1", "--windows", "2")
    found = simtrain.encode(stories, features="text", subjects="s1", shifts=19, device="cpu")
    assert np.isfinite(found.maps["r2"].sel(subject="s1")).any()
    with pytest.raises(UserError, match="was trained without video, on audio, text"):
        simtrain.reconstruct(run, stories)


@pytest.mark.parametrize("command", [simtrain.fit, simtrain.baseline])
def test_what_the_store_lacks_is_refused_with_what_it_has(stories, tmp_path, command):
    message = r"has no embedding of video; it has: audio_tones, text_words; take `modalities` fmri,audio,text"
    with pytest.raises(UserError, match=message):
        command(stories, tmp_path / "out")
    with pytest.raises(UserError, match=r"video: .* has no such embedding; it has: audio_tones, text_words"):
        simtrain.encode(stories, features="video")


def test_windows_are_where_the_modality_is(rich_store, tmp_path):
    """A film that lacks sound has windows of pictures alone."""
    path = shutil.copytree(rich_store, tmp_path / "mixed.zarr")
    shutil.rmtree(path / "audio_tones/c/1", ignore_errors=True)
    with xr.open_zarr(path, chunks=None) as store:
        sound = store.audio_tones.load()
    sound[1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sound.drop_encoding().to_dataset().drop_vars(sound.coords).to_zarr(path, mode="a", zarr_format=3)
    dataset = open_dataset(path)

    def movies(modalities):
        config = simtrain.load_config("demo", overrides={"data.video": "shapes"}, modalities=modalities)
        return set(
            Windows.of(dataset, simtrain.data.dataset.resolve(config, dataset)).find()["movie"].tolist()
        )

    assert movies(["fmri", "video"]) == {0, 1}
    assert movies(["fmri", "audio"]) == movies(["fmri", "video", "audio"]) == {0}
