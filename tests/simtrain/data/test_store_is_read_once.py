"""How often commands open a store and read its embeddings: once, whatever they do with them."""

from collections import Counter

import pytest
import xarray as xr
from click.testing import CliRunner
from xarray.backends.zarr import ZarrArrayWrapper

from simdata.store import BoldReader
from simtrain.cli.root import cli
from simtrain.data.dataset import open_dataset

TINY = ["model.ico=1", "model.dim=8", "model.depth=1", "model.heads=1", "train.steps=2", "train.batch_size=8"]


@pytest.fixture
def counted(monkeypatch) -> Counter:
    """Openings, readers of BOLD, and reads of each array through xarray; everything is done all the same."""
    counts = Counter()

    def counting(owner, name, what):
        real = getattr(owner, name)

        def call(*args, **options):
            counts[what(args)] += 1
            return real(*args, **options)

        monkeypatch.setattr(owner, name, call)

    counting(xr, "open_zarr", lambda args: "opened")
    counting(BoldReader, "__init__", lambda args: "readers")
    counting(ZarrArrayWrapper, "__getitem__", lambda args: args[0].get_array().basename)
    return counts


def _run(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def _settings():
    return [word for setting in TINY for word in ("--set", setting)]


def test_a_fit_opens_the_store_once_and_reads_each_embedding_once(store, tmp_path, counted):
    _run("fit", store, "--out", tmp_path / "run", "--config", "demo", "--device", "cpu", *_settings())
    assert (counted["opened"], counted["readers"]) == (1, 2)  # of which one looks for main components
    assert (counted["video_shapes"], counted["audio_tones"]) == (1, 1)
    assert not counted["bold"]


def test_a_retrieve_opens_the_store_once_and_reads_each_embedding_once(store, trained, tmp_path, counted):
    options = ("--pool", "5", "--experiment", "new-subjects", "--device", "cpu")
    _run("retrieve", trained.path, store, *options)
    assert (counted["opened"], counted["readers"]) == (1, 1)
    assert (counted["video_shapes"], counted["audio_tones"]) == (1, 1)


def test_a_pretraining_reads_no_embedding(store, tmp_path, counted):
    _run("pretrain", store, "--out", tmp_path / "run", "--device", "cpu", *_settings())
    assert (counted["opened"], counted["readers"]) == (1, 2)
    assert not {"video_shapes", "audio_tones", "bold"} & counted.keys()


def test_an_embedding_is_read_when_it_is_asked_for(store, counted):
    dataset = open_dataset(store)
    assert not counted["video_shapes"]
    assert dataset.embedding("video_shapes") is dataset.embedding("video_shapes")
    assert counted["video_shapes"] == 1
    assert not counted["audio_tones"]
