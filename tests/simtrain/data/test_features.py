import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from simdata.common.errors import UserError
from simtrain import batches
from simtrain.config.composition import load
from simtrain.data.dataset import Embedding, open_dataset, resolve
from simtrain.data.features import Stimuli
from simtrain.data.windows import Windows
from simtrain.models.learner import Learner


def _embeddings():
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((2, 9, 4)) * [1, 1e-5, 30, 0] + [0, 0, 5, 7]).astype(np.float32)
    values[:, -2:] = np.nan
    return {"video": Embedding("video_a", values, 3)}


def test_statistics_are_those_of_training_clips_only():
    embeddings = _embeddings()
    clips = np.zeros((2, 9), np.int8)
    clips[0, :5], clips[1, 2:4], clips[1, 5:7] = 1, 1, 3
    stimuli = Stimuli(embeddings)
    stimuli.fit(clips)
    scaler = StandardScaler().fit(embeddings["video"].values[clips == 1].astype(np.float64))
    movie, clip = torch.tensor([0, 1, 1]), torch.tensor([4, 0, 6])
    expected = scaler.transform(embeddings["video"].values[movie, clip])
    np.testing.assert_allclose(stimuli(movie, clip)["video"], expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_carries_the_statistics_but_not_the_features():
    fitted, fresh = Stimuli(_embeddings()), Stimuli(_embeddings())
    fitted.fit(np.ones((2, 9), np.int8) * (np.arange(9) < 7))
    assert set(fitted.state_dict()) == {"features.video.mean", "features.video.std"}
    fresh.load_state_dict(fitted.state_dict())
    where = torch.tensor([1]), torch.tensor([3])
    assert torch.equal(fresh(*where)["video"], fitted(*where)["video"])


def test_raw_features_are_the_stores(store):
    """In a learner, whatever its statistics were fitted on; and in batches of one's own loop."""
    dataset = open_dataset(store)
    config = resolve(load("demo", ["data.features=raw", "model.ico=1", "model.depth=1"]), dataset)
    used = Windows.of(dataset, config)
    learner = Learner(config, dataset, used.embeddings)
    learner.stimuli.fit(used.clips)
    movie, clip = np.array([0, 1]), np.array([5, 20])
    values = dataset.embedding("video_shapes").values
    np.testing.assert_array_equal(learner.clip_features(movie, clip)["video"], values[movie, clip])
    state = learner.state_dict()
    assert (state["stimuli.features.video.mean"] == 0).all()
    assert (state["stimuli.features.video.std"] == 1).all()
    batch = next(iter(batches(store, batch_size=4, ico=1, config=config)))
    np.testing.assert_array_equal(batch.stimuli["video"], values[batch.movie, batch.clip])


def test_features_that_say_nothing_are_refused_raw_too():
    same = {"video": Embedding("video_a", np.full((1, 9, 2), 4, np.float32), 3)}
    with pytest.raises(UserError, match="is the same in all 9 clips"):
        Stimuli(same, raw=True).fit(np.ones((1, 9), np.int8))
