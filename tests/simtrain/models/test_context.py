"""What a model is given of the BOLD around its windows, beside numpy, and what it is never given."""

import shutil

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import simtrain
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.moments import find_moments
from simtrain.data.windows import Windows, by_hemisphere, training
from simtrain.models.context import ContextCourses
from simtrain.models.learner import Learner
from simtrain.surface.patches import patch_vertices

CPU = torch.device("cpu")
SMALL = [
    "model.ico=1",
    "model.dim=8",
    "model.depth=1",
    "model.dim_head=8",
    "model.heads=2",
    "projector.dim=8",
]
AROUND = ["context.before=9", "context.after=8", "context.ico=1", "context.depth=1"]
MOMENTS = ("clips", "shown", "any")


def _config(dataset, *overrides):
    return resolve(load("demo", [*SMALL, *AROUND, *overrides]), dataset)


def _samples(dataset, config):
    windows = training(find_moments(Windows.of(dataset, config), config.data.moments))
    return by_hemisphere(windows, config.data.sides)


def _learner(dataset, config):
    """Whose context counts, as behind training."""
    torch.manual_seed(0)
    learner = Learner(config, dataset, dataset.embeddings(config))
    torch.nn.init.normal_(learner.sim.temporal.out.weight)
    return learner.eval()


def _embedded(learner, dataset, samples):
    bold = zarr.open_array(dataset.path, path="bold", mode="r")
    windows = [
        bold[s["subject"], s["movie"], s["second"] : s["second"] + 3, s["hemisphere"]] for s in samples
    ]
    with torch.no_grad():
        return learner.embed_fmri(samples, torch.from_numpy(np.stack(windows)))


def _patch_means(store, subject, movie, hemisphere):
    """(seconds, patches) of z-scored frames, from the values that xarray decodes."""
    with xr.open_zarr(store, consolidated=True) as opened:
        cortex = opened.cortex.values[hemisphere].astype(bool)
        frames = opened.bold[subject, movie, :, hemisphere].values.astype(np.float64)
    inside = frames[:, cortex]
    scored = np.full(frames.shape, np.nan)
    with np.errstate(invalid="ignore"):
        scored[:, cortex] = (inside - inside.mean(axis=1, keepdims=True)) / inside.std(axis=1, keepdims=True)
    means = np.zeros((len(frames), 80))
    for patch, vertices in enumerate(patch_vertices(1)):
        if cortex[vertices].any():
            means[:, patch] = scored[:, vertices[cortex[vertices]]].mean(axis=1)
    return means


def test_courses_are_patch_means_of_what_may_be_seen_as_by_numpy(store):
    dataset = open_dataset(store)
    config = _config(dataset)
    context, samples = ContextCourses(dataset, config), _samples(dataset, config)[::37]
    courses, seen = context.of_samples(samples, CPU)
    assert courses.shape == (len(samples), 20, 80)
    assert courses.dtype == torch.float32
    assert 0 < (~seen).sum() < seen.numel() / 2
    for sample, course, mask in zip(samples, courses.numpy(), seen.numpy(), strict=True):
        means = _patch_means(store, sample["subject"], sample["movie"], sample["hemisphere"])
        at = sample["second"] + np.arange(-9, 11)
        np.testing.assert_allclose(course[mask], means[at[mask]], rtol=1e-5, atol=1e-5)
        assert not course[~mask].any()


def test_runs_take_the_memory_that_is_said(store):
    dataset = open_dataset(store)
    config = _config(dataset)
    context = ContextCourses(dataset, config)
    windows = Windows.of(dataset, config).find()
    context.of_samples(by_hemisphere(windows), CPU)
    assert sum(run.nbytes for run in context._runs.values()) == context.nbytes


@pytest.mark.parametrize("moments", MOMENTS)
def test_bold_that_answers_held_out_film_changes_nothing_in_training(store, tmp_path, moments):
    """All of it is replaced, but for rest behind it that ``any`` takes as windows."""
    dataset = open_dataset(store)
    config = _config(dataset, f"data.moments={moments}", "train.batch_size=8", "context.before=40")
    samples = _samples(dataset, config)[::11]
    before = _embedded(_learner(dataset, config), dataset, samples)
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    bold, rng = zarr.open_array(other, path="bold", mode="r+"), np.random.default_rng(0)
    held = np.zeros(dataset.segment.shape, bool)
    for movie, second in np.argwhere(dataset.scene_split > 1):
        if second + config.data.lag < dataset.volumes[movie]:
            held[movie, second + config.data.lag] = True
    for movie, second in np.argwhere(held):
        values = bold[:, movie, second]
        bold[:, movie, second] = np.where(values == -128, values, rng.integers(-99, 99, values.shape))
    changed = open_dataset(other)
    assert torch.equal(_embedded(_learner(changed, config), changed, samples), before)
    tested = by_hemisphere(Windows.of(dataset, config).experiment("new-scenes", config.data.lag))[:4]
    learners = _learner(dataset, config), _learner(changed, config)
    assert not torch.allclose(*(_embedded(one, dataset, tested) for one in learners))


def test_without_a_context_a_model_is_what_it_was(store):
    """The weights by name and value, and what it makes of windows, to the bit, until it has been trained."""
    dataset = open_dataset(store)
    config = _config(dataset)
    alone = resolve(load("demo", SMALL), dataset)
    learners = []
    for one in (config, alone):
        torch.manual_seed(0)
        learners.append(Learner(one, dataset, dataset.embeddings(one)).eval())
    with_context, without = (learner.state_dict() for learner in learners)
    assert {name for name in with_context if name not in without} == {
        name for name in with_context if name.startswith("sim.temporal.")
    }
    assert all(torch.equal(with_context[name], values) for name, values in without.items())
    samples = _samples(dataset, config)[::101]
    assert torch.equal(*(_embedded(learner, dataset, samples) for learner in learners))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_both_ways_of_pooling_take_a_context(store, pool):
    dataset = open_dataset(store)
    config = _config(dataset, f"model.pool={pool}")
    samples = _samples(dataset, config)[::101]
    learner = _learner(dataset, config)
    found = _embedded(learner, dataset, samples)
    torch.nn.init.zeros_(learner.sim.temporal.out.weight)
    assert not torch.allclose(found, _embedded(learner, dataset, samples))


def test_batches_give_what_training_sees(store):
    config = load("demo", [*SMALL, *AROUND])
    found = next(iter(simtrain.batches(store, "train", batch_size=8, config=config)))
    assert "context (8, 20, 80)" in repr(found)
    dataset = open_dataset(store)
    samples = np.zeros(8, _samples(dataset, _config(dataset)).dtype)
    for name in ("subject", "movie", "second", "clip", "hemisphere"):
        samples[name] = getattr(found, name)
    samples["scene_split"] = 1
    courses, seen = ContextCourses(dataset, _config(dataset)).of_samples(samples, CPU)
    assert torch.equal(found.context, courses)
    assert torch.equal(found.seen, seen)
    alone = next(iter(simtrain.batches(store, "train", batch_size=8, ico=1)))
    assert alone.context is None
    assert alone.seen is None
