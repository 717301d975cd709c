"""Scores of windows on main axes, against scikit-learn's PCA of the same windows."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from simdata.store import BoldReader
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.baselines.vertices import Volumes
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere
from simtrain.models.main_axes import Axes

FRAMES = 3


def _windows(store, dataset, samples):
    """(n, vertices * frames) float64: each frame z-scored over its hemisphere's cortex, 0 outside."""
    axes = ("subject", "movie", "second", "hemisphere")
    stored = BoldReader(store).read(np.stack([samples[axis] for axis in axes], axis=1), FRAMES).astype(float)
    rows = []
    for values, hemisphere in zip(stored, samples["hemisphere"], strict=True):
        inside = dataset.cortex[hemisphere]
        within = values[:, inside]
        scored = np.zeros_like(values)
        scored[:, inside] = (within - within.mean(axis=1, keepdims=True)) / within.std(axis=1, keepdims=True)
        rows.append(scored.T.reshape(-1))
    return np.array(rows)


def _of(plain):
    """What sklearn has fitted, as axes of one group."""
    parts = (plain.mean_, plain.components_, plain.explained_variance_, plain.noise_variance_)
    return Axes(*(torch.as_tensor(part, dtype=torch.float32)[None] for part in parts))


def test_scores_are_those_of_sklearn_whitened(store):
    dataset = open_dataset(store)
    config = resolve(load("demo", [f"data.frames={FRAMES}"]), dataset)
    found = by_hemisphere(Windows.of(dataset, config).find())
    samples = np.random.default_rng(0).permutation(found)[:60]
    windows = _windows(store, dataset, samples)
    plain = PCA(5, whiten=True, svd_solver="full").fit(windows[:40])
    scores = Scores(_of(plain), Volumes(dataset, config, torch.device("cpu")), FRAMES)
    values = scores.of(samples)
    np.testing.assert_allclose(values, plain.transform(windows), atol=1e-3)
    asked = [(samples[[7, 0, 7]], "first"), (samples[50:], "second")]
    with ScoresFeed(samples, values).batches(asked, 10) as batches:
        one, other = batches
    torch.testing.assert_close(one.stored, values[[7, 0, 7]])
    torch.testing.assert_close(other.stored, values[50:])
    assert (one.note, other.note) == ("first", "second")
