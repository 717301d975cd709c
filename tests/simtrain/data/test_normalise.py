"""``data.normalise``: every order of steps, in every way from a store to a model, as by numpy."""

import shutil

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.store.schema import quiet_zarr
from simtrain import batches
from simtrain.attribution.maps import randomised
from simtrain.baselines.experiments import Baselines, BaselineSettings
from simtrain.config.composition import load
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Device, Memory, Scans, Stream
from simtrain.data.run_scales import RunScale
from simtrain.data.windows import SAMPLE
from simtrain.models.input import FramePatches
from simtrain.models.masked_learner import MaskedLearner
from simtrain.retrieval.protocol import Protocol
from simtrain.surface.patches import patch_vertices
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
WORDS = Config.model_fields["data"].annotation.model_fields["normalise"].annotation.__args__
BY_VERTEX = [word for word in WORDS if word != "vertex-zscore+frame-zscore"]
TINY = ["model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=8", "model.heads=2"]
SAMPLES = np.array(
    [(s, m, t, t - 6, 0, 0, h) for s, m, h in ((0, 0, 1), (1, 1, 0), (0, 0, 0)) for t in (8, 30)], SAMPLE
)
AXES = ("subject", "movie", "second", "hemisphere")
LACKING = (0, 0, 1)  # subject, movie, hemisphere of a run in which some of the cortex has no data


@pytest.fixture(scope="module")
def stores(store, tmp_path_factory):
    """dtype -> a store of which one run lacks vertices."""
    found = {}
    for dtype in ("int8", "float16", "float32"):
        path = found[dtype] = tmp_path_factory.mktemp("normalise") / f"{dtype}.zarr"
        if dtype == "int8":
            shutil.copytree(store, path)
        else:
            _as_floats(found["int8"], path, dtype)
            continue
        lacking = np.random.default_rng(0).random(40_962) < 0.02
        for name, fill in (("bold", -128), ("bold_mean", np.nan), ("bold_std", np.nan)):
            array = zarr.open_array(path, path=name, mode="r+")
            subject, movie, hemisphere = LACKING
            where = (subject, movie, slice(None), hemisphere) if name == "bold" else LACKING
            values = array[where]
            values[..., lacking] = fill
            array[where] = values
    return found


def _as_floats(source, path, dtype):
    """The same store with BOLD in floats, of its first two subjects alone."""
    shutil.copytree(source, path, ignore=lambda folder, names: ["bold"] if folder == str(source) else [])
    stored = zarr.open_array(source, path="bold")
    bold = zarr.open_group(path, mode="r+").create_array(
        "bold",
        shape=stored.shape,
        dtype=dtype,
        chunks=stored.chunks,
        shards=stored.shards,
        fill_value=np.nan,
        dimension_names=stored.metadata.dimension_names,
    )
    for subject in range(2):
        values = stored[subject]
        bold[subject] = np.where(values == -128, np.nan, values / 16).astype(dtype)
    zarr.open_array(path, path="run_status", mode="r+")[2:] = 0
    with quiet_zarr():
        zarr.consolidate_metadata(path)


def expected(path, samples, word, ico=1, frames=3):
    """(samples, patches, vertices of one * frames) float64 by numpy, of what zarr has of a store."""
    group = zarr.open_group(path, mode="r")
    bold, patches = group["bold"], patch_vertices(ico)
    table = np.zeros((len(samples), frames, bold.shape[-1]))
    for row, sample in zip(table, samples, strict=True):
        subject, movie, second, hemisphere = (int(sample[axis]) for axis in AXES)
        stored = bold[subject, movie, second : second + frames, hemisphere].astype(float)
        if bold.dtype == np.int8:
            stored = np.where(stored == -128, np.nan, stored / 16)
        mean, std = (
            group[f"bold_{name}"][subject, movie, hemisphere].astype(float) for name in ("mean", "std")
        )
        values = {"vertex-zscore": stored, "vertex-demean": stored * std}.get(
            word.partition("+")[0], stored * std + mean
        )
        inside = group["cortex"][hemisphere] & ~np.isnan(values).any(axis=0)
        if word.endswith("frame-zscore"):
            there = values[:, inside]
            values = (values - there.mean(axis=1, keepdims=True)) / there.std(axis=1, keepdims=True)
        row[:, inside] = values[:, inside]
    return table[:, :, patches].transpose(0, 2, 3, 1).reshape(len(samples), len(patches), -1)


def must_be(found, path, samples, word, **sizes):
    """As by numpy, in units of the values' own s.d."""
    wanted = expected(path, samples, word, **sizes)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=3e-6 * np.abs(wanted).max())


def _config(path, word, *overrides, kind=Config):
    dataset = open_dataset(path)
    return dataset, resolve(load("demo", [*TINY, f"data.normalise={word}", *overrides], kind=kind), dataset)


def _recorded(monkeypatch):
    """A list that grows by the samples, and what is made of their BOLD, whenever it is made."""
    seen, original = [], FramePatches.of_samples

    def recorded(self, samples, stored):
        seen.append((samples.copy(), original(self, samples, stored).clone()))
        return seen[-1][1]

    monkeypatch.setattr(FramePatches, "of_samples", recorded)
    return seen


def _stored(path, samples=SAMPLES, frames=3):
    return torch.from_numpy(BoldReader(path).read(np.stack([samples[axis] for axis in AXES], axis=1), frames))


def test_the_words_are_all_orders_that_a_store_can_give():
    assert len(WORDS) == 6
    data = [load("demo", [f"data.normalise={word}"]).data for word in WORDS]
    assert {one.unit for one in data if one.by_frame or one.by_vertex == "vertex-zscore"} == {"s.d."}
    assert {one.unit for one in data if one.normalise in ("vertex-demean", "none")} == {"scanner unit"}
    for wrong in ("frame-zscore+vertex-demean", "vertex-demean,frame-zscore", "zscore"):
        with pytest.raises(UserError, match="normalise"):
            load("demo", [f"data.normalise={wrong}"])


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
@pytest.mark.parametrize("word", WORDS)
def test_the_compiled_loop_and_torch_give_what_numpy_gives(stores, dtype, word):
    path = stores[dtype]
    dataset, config = _config(path, word)
    frames, stored = FramePatches.of(dataset, config), _stored(path)
    must_be(frames.of_samples(SAMPLES, stored), path, SAMPLES, word)
    scale = None if frames.scales is None else frames.scales.of(SAMPLES, CPU)
    side = torch.from_numpy(SAMPLES["hemisphere"].astype(int))
    must_be(frames.on_device(stored, side, scale), path, SAMPLES, word)


@pytest.mark.parametrize("word", ["vertex-demean", "frame-zscore"])
def test_compiled_by_torch_it_is_one_graph(stores, word):
    dataset, config = _config(stores["int8"], word)
    frames, side = FramePatches.of(dataset, config), torch.from_numpy(SAMPLES["hemisphere"].astype(int))
    torch.compiler.reset()  # it keeps count of the modules that it has seen in this process
    compiled = torch.compile(frames.on_device, backend="aot_eager", fullgraph=True)
    found = compiled(_stored(stores["int8"]), side, frames.scales.of(SAMPLES, CPU))
    torch.compiler.reset()
    must_be(found, stores["int8"], SAMPLES, word)


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("word", ["vertex-demean", "none"])
def test_windows_of_any_length(stores, word, frames):
    dataset, config = _config(stores["int8"], word, f"data.frames={frames}")
    found = FramePatches.of(dataset, config).of_samples(SAMPLES, _stored(stores["int8"], frames=frames))
    must_be(found, stores["int8"], SAMPLES, word, frames=frames)


@pytest.mark.parametrize("kind", ["device", "memory", "stream"])
def test_feeds(stores, kind):
    path, word = stores["int8"], "vertex-demean"
    dataset, config = _config(path, word)
    reader, frames = BoldReader(path), FramePatches.of(dataset, config)
    runs = Scans(SAMPLES, dataset, reader)
    feed = (
        Stream(reader, 3, CPU)
        if kind == "stream"
        else {"device": Device, "memory": Memory}[kind](runs, 3, CPU)
    )
    parts = [(SAMPLES[:2], None), (SAMPLES[::-1], None), (SAMPLES[3:], None)]
    with feed.batches(parts, len(SAMPLES)) as found:
        for batch in found:
            must_be(frames.of_samples(batch.samples, batch.stored), path, batch.samples, word)


def test_a_vertex_without_data_is_0_in_every_way(stores):
    lacking = np.isnan(zarr.open_array(stores["int8"], path="bold_std")[LACKING])
    assert lacking.sum() > 1000
    for word in BY_VERTEX:
        dataset, config = _config(stores["int8"], word)
        found = FramePatches.of(dataset, config).of_samples(SAMPLES, _stored(stores["int8"]))
        vertices = found[0].view(*patch_vertices(1).shape, 3)
        assert (vertices[torch.from_numpy(lacking[patch_vertices(1)])] == 0).all()
        assert (vertices != 0).any()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(1, 1e5), st.floats(1e-2, 1e3))
def test_what_is_undone_is_the_files_within_the_stores_rounding(seed, mean, spread):
    """A file's course, z-scored and rounded to int8 as a store has it, and made its own again."""
    course = mean + spread * np.random.default_rng(seed).standard_normal((50, 7))
    own, std = course.mean(axis=0), course.std(axis=0)
    stored = np.rint((course - own) / std * 16).astype(np.int8)
    factor = torch.from_numpy((std / 16).astype("f4"))[None]
    row = torch.zeros(1, dtype=torch.int64)
    nothing = torch.empty(0, 7)
    demeaned = RunScale(factor, nothing, row).apply(torch.from_numpy(stored)[None])[0].numpy()
    assert (abs(demeaned - (course - own)) <= std / 32 + 1e-5 * spread).all()
    again = RunScale(factor, torch.from_numpy(own.astype("f4"))[None], row).apply(
        torch.from_numpy(stored)[None]
    )
    assert (abs(again[0].numpy() - course) <= std / 32 + 1e-5 * spread + 1e-6 * mean).all()


def test_batches_of_ones_own_loop(stores):
    config = {"data": {"normalise": "vertex-demean"}}
    found = batches(stores["int8"], "train", batch_size=8, ico=1, config=config, modalities="fmri,video")
    batch = next(iter(found))
    samples = np.zeros(8, SAMPLE)
    for axis in AXES:
        samples[axis] = getattr(batch, axis)
    must_be(batch.fmri, stores["int8"], samples, "vertex-demean")


@pytest.mark.parametrize("word", ["vertex-demean", "none"])
def test_targets_of_pretraining(stores, word):
    path = stores["int8"]
    dataset, config = _config(path, word, "mae.decoder_dim=16", kind=PretrainConfig)
    learner = MaskedLearner(config, dataset)
    filled = learner.fill(SAMPLES, _stored(path), learner.mask(SAMPLES, 0, 1))
    must_be(filled.values, path, SAMPLES, word)
    assert torch.equal(filled.target, filled.values)


def test_tests_have_an_input_of_their_own_if_asked(stores, tmp_path, monkeypatch):
    """As published: trained on demeaned BOLD, tested on frames z-scored over the cortex."""
    path, tested = stores["int8"], "vertex-demean+frame-zscore"
    seen = _recorded(monkeypatch)
    short = ["train.steps=2", "train.batch_size=4", "train.validation_samples=4", "train.validate_every=1"]
    dataset, config = _config(path, "vertex-demean", f"data.test_normalise={tested}", *short)
    run = FitRun.start(tmp_path / "run", config, dataset)
    fit(dataset, run, CPU, Console(quiet=True))
    assert len(seen) >= 4  # of training and of validation
    for samples, found in seen:
        must_be(found, path, samples, "vertex-demean")
    learner = load_learner(run, dataset, CPU)
    for one in (learner, randomised(learner, run, dataset, 0)):
        must_be(one.patches(SAMPLES, _stored(path)), path, SAMPLES, tested)


def test_pca_has_it_too_and_is_tested_as_the_model_is(stores, tmp_path, monkeypatch):
    path, tested = stores["int8"], "vertex-demean+frame-zscore"
    short = ["train.steps=1", "train.batch_size=4", "train.validation_samples=4"]
    dataset, config = _config(path, "vertex-demean", f"data.test_normalise={tested}", *short)
    seen = _recorded(monkeypatch)
    baselines = Baselines(dataset, config, BaselineSettings(components=2, samples=8), CPU)
    fitted, _ = baselines.fit("pca", tmp_path)
    in_training = len(seen)
    baselines.test(fitted, "new-subjects", Protocol(pool=4, clips=4, draws=2, lag=config.data.lag))
    # First windows, of which the axes are fitted, and then volumes.
    for number, word in ((0, "vertex-demean"), (in_training - 1, "vertex-demean"), (-1, tested)):
        samples, values = seen[number]
        frames = values.numel() // len(samples) // dataset.cortex.shape[1]
        whole = values.view(len(samples), -1, frames)[:, patch_vertices(1)].flatten(2)
        must_be(whole, path, samples, word, frames=frames)


def test_a_store_that_has_not_kept_them_is_refused_by_one_message(store, tmp_path):
    path = tmp_path / "bare.zarr"
    shutil.copytree(store, path, ignore=shutil.ignore_patterns("bold_std", "bold_mean"))
    with quiet_zarr():
        zarr.consolidate_metadata(path)
    for key in ("normalise", "test_normalise"):
        with pytest.raises(UserError, match=r"has no bold_std.*data\.normalise.*simdata build"):
            resolve(load("demo", [f"data.{key}=vertex-demean"]), open_dataset(path))
    with pytest.raises(UserError, match="has no bold_mean and no bold_std"):
        resolve(load("demo", ["data.normalise=none"], kind=PretrainConfig), open_dataset(path))
    dataset = open_dataset(path)
    assert FramePatches.of(dataset, resolve(load("demo", ["data.normalise=vertex-zscore"]), dataset))
