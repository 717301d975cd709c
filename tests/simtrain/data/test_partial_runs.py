"""A run that lacks vertices of the cortex: the same in every way from the store to a model, as by numpy.

The rule is stated in `simtrain.models.input.FramePatches`.
"""

import shutil

import numpy as np
import pytest
import torch
import zarr

from simdata.store import BoldReader
from simtrain.attribution.methods import Attribution, Method
from simtrain.baselines.courses import Courses
from simtrain.baselines.isc import isc
from simtrain.baselines.vertices import whole_hemisphere
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Batch, Device, Memory, Scans, Stream
from simtrain.data.windows import SAMPLE
from simtrain.models.input import FramePatches
from simtrain.models.learner import Learner
from simtrain.models.masked_learner import MaskedLearner
from simtrain.surface.patches import patch_vertices

CPU = torch.device("cpu")
PATCHES = patch_vertices(1)
PARTIAL = (0, 0, 1)  # subject, movie, hemisphere
SAMPLES = np.array(
    [(s, m, second, 5, 0, 0, h) for s, m, h in (PARTIAL, (1, 1, 0), (0, 0, 0)) for second in (8, 30)], SAMPLE
)
TINY = ["model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=8"]


@pytest.fixture(scope="module")
def lacking():
    """(vertices,) bool: a third of the sphere, a whole patch, and some alone."""
    lacks = np.random.default_rng(0).random(40_962) < 0.02
    lacks[PATCHES[3]] = lacks[PATCHES[7]] = True
    return lacks


@pytest.fixture(scope="module")
def partial(store, lacking, tmp_path_factory):
    """The small store, of which one run lacks vertices in R."""
    path = tmp_path_factory.mktemp("partial") / "partial.zarr"
    shutil.copytree(store, path)
    bold = zarr.open_array(path, path="bold", mode="r+")
    subject, movie, hemisphere = PARTIAL
    values = bold[subject, movie, :, hemisphere]
    values[:, lacking] = -128
    bold[subject, movie, :, hemisphere] = values
    return path


@pytest.fixture(scope="module")
def dataset(partial):
    return open_dataset(partial)


@pytest.fixture(scope="module")
def stored(partial):
    axes = ("subject", "movie", "second", "hemisphere")
    return BoldReader(partial).read(np.stack([SAMPLES[axis] for axis in axes], axis=1), 3)


@pytest.fixture(scope="module")
def expected(dataset, stored):
    """(samples, frames, vertices) float64 by numpy: z-scored over the vertices that have data, else 0."""
    table = np.zeros(stored.shape)
    for frames, scored, sample in zip(stored, table, SAMPLES, strict=True):
        for frame, row in zip(frames.astype(float), scored, strict=True):
            there = dataset.cortex[sample["hemisphere"]] & (frame != -128)
            row[there] = (frame[there] - frame[there].mean()) / frame[there].std()
    assert (table[:2] == 0).sum() > (table[2:4] == 0).sum()
    return table


def on_patches(table):
    return table[:, :, PATCHES].transpose(0, 2, 3, 1).reshape(len(table), len(PATCHES), -1)


def as_type(stored, dtype):
    return stored if dtype == "int8" else np.where(stored == -128, np.nan, stored / 16).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_ways_to_patches(dataset, stored, expected, dtype):
    frames, side = (
        FramePatches(dataset.cortex, PATCHES),
        torch.from_numpy(SAMPLES["hemisphere"].astype(np.int64)),
    )
    batch, tolerance = torch.from_numpy(as_type(stored, dtype)), 2e-3 if dtype == "float16" else 2e-6
    compiled = torch.compile(frames.on_device, backend="aot_eager", fullgraph=True)
    for way in (frames, frames.on_device, compiled):
        np.testing.assert_allclose(way(batch, side), on_patches(expected), rtol=0, atol=tolerance)
    np.testing.assert_allclose(frames.zscore(batch, side), expected, rtol=0, atol=tolerance)
    whole = (
        whole_hemisphere(dataset, resolve(load("demo"), dataset))(batch, side)
        .view(len(batch), -1, 3)
        .transpose(1, 2)
    )
    np.testing.assert_allclose(whole, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_windows_of_other_lengths(dataset, stored, expected, frames):
    """A vertex has data in a window if it has them in every frame."""
    longer = np.concatenate([stored, stored], axis=1)[:, :frames].copy()
    whole, side = (
        FramePatches(dataset.cortex, PATCHES),
        torch.from_numpy(SAMPLES["hemisphere"].astype(np.int64)),
    )
    found = whole(torch.from_numpy(longer), side)
    torch.testing.assert_close(found, whole.on_device(torch.from_numpy(longer), side), rtol=1e-6, atol=2e-6)
    once = np.concatenate([expected, expected], axis=1)[:, :frames]
    np.testing.assert_allclose(found, on_patches(once), atol=2e-6)
    longer[:, 0, :5000] = -128
    found = whole(torch.from_numpy(longer), side)
    torch.testing.assert_close(found, whole.on_device(torch.from_numpy(longer), side), rtol=1e-6, atol=2e-6)
    assert (found.view(len(found), *PATCHES.shape, frames)[:, torch.from_numpy(PATCHES < 5000)] == 0).all()


def test_a_hemisphere_without_any_data_is_zero(dataset):
    frames, nothing = (
        FramePatches(dataset.cortex, PATCHES),
        torch.full((1, 3, 40_962), -128, dtype=torch.int8),
    )
    for batch in (nothing, torch.full((1, 3, 40_962), torch.nan)):
        for way in (frames, frames.on_device):
            assert (way(batch, torch.tensor([1])) == 0).all()


@pytest.mark.parametrize("kind", ["device", "memory", "stream"])
def test_feeds(partial, dataset, expected, kind):
    reader = BoldReader(partial)
    runs = Scans(SAMPLES, dataset, reader)
    feed = {"device": Device, "memory": Memory}.get(kind)
    feed = feed(runs, 3, CPU) if feed else Stream(reader, 3, CPU)
    frames = FramePatches(dataset.cortex, PATCHES)
    with feed.batches([(SAMPLES, None)], len(SAMPLES)) as batches:
        for batch in batches:
            found = frames(batch.stored, torch.from_numpy(batch.samples["hemisphere"].astype(np.int64)))
            np.testing.assert_allclose(found, on_patches(expected), rtol=0, atol=2e-6)


def test_pretraining_neither_predicts_nor_counts_them(dataset, stored, expected, lacking):
    overrides = [*TINY, "mae.decoder_dim=16", "mae.decoding=linear", "mae.normalise_target=true"]
    config = resolve(load("demo", overrides, kind=PretrainConfig), dataset)
    learner = MaskedLearner(config, dataset)
    filled = learner.fill(SAMPLES, torch.from_numpy(stored), learner.mask(SAMPLES, 0, 1))
    np.testing.assert_allclose(filled.values, on_patches(expected), rtol=0, atol=2e-6)
    there = dataset.cortex[SAMPLES["hemisphere"]]
    there[:2] &= ~lacking
    counted = on_patches(np.repeat(there[:, None], 3, axis=1))
    hidden = np.repeat(filled.hidden.numpy()[:, :, None], PATCHES.shape[1], axis=2).reshape(counted.shape)
    np.testing.assert_array_equal(filled.counted, counted & hidden)
    values = np.where(counted, on_patches(expected), np.nan)
    mean = np.nansum(values, axis=2) / np.maximum(counted.sum(axis=2), 1)
    np.testing.assert_allclose(filled.scale.mean[..., 0], mean, atol=1e-5)


def test_courses_of_patches_are_of_what_has_data(partial, dataset, lacking):
    run = BoldReader(partial).read_run(0, 0, 1)[: dataset.volumes[0]].astype(float)
    found = iter(Courses(dataset, 1, [1]).run(0, 0).T)
    for patch in PATCHES:
        there = patch[dataset.cortex[1, patch] & ~lacking[patch]]
        if not dataset.cortex[1, patch].any():
            continue
        course = run[:, there].mean(axis=1) if len(there) else np.zeros(len(run))
        deviation = course.std() or 1
        np.testing.assert_allclose(next(found), (course - course.mean()) / deviation, atol=1e-4)


def test_inter_subject_correlation_leaves_a_subject_out_where_it_has_none(partial, dataset, lacking):
    seconds, subjects = np.arange(10, 50), np.arange(4)
    (found,) = isc(dataset, [subjects], 0, 1, seconds)
    reader = BoldReader(partial)
    courses = np.stack([reader.read_run(subject, 0, 1)[seconds].astype(float) for subject in subjects])
    courses -= courses.mean(axis=1, keepdims=True)
    inside = np.flatnonzero(dataset.cortex[1])
    for vertex in [*inside[lacking[inside]][::97], *inside[~lacking[inside]][::9000]]:
        those = subjects[1:] if lacking[vertex] else subjects
        own = courses[those, :, vertex]
        own /= own.std(axis=1, keepdims=True)
        each = [np.corrcoef(own[i], np.delete(own, i, axis=0).mean(axis=0))[0, 1] for i in range(len(own))]
        assert found[vertex] == pytest.approx(np.mean(each), abs=1e-5)
    assert np.isfinite(found[dataset.cortex[1]]).all()


@pytest.mark.parametrize("by_vertex", [True, False])
def test_saliency_has_nothing_to_say_of_them(dataset, stored, lacking, by_vertex):
    config = resolve(load("demo", [*TINY, "projector.dim=16"]), dataset)
    learner = Learner(config, dataset, dataset.embeddings(config)).eval()
    learner.stimuli.fit(np.ones(dataset.segment.shape, np.int8))
    method = Method("sensitivity", "video", by_vertex=by_vertex)
    batch = Batch(SAMPLES[:2], torch.from_numpy(stored[:2]), None)
    found = Attribution(learner, 1, 40_962, method).of_batch(batch)[0, :, 1].numpy()
    assert (found[:, lacking] == 0).all()
    assert (found[:, dataset.cortex[1] & ~lacking] != 0).mean() > 0.9, "others have data"
