import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from simtrain.data.dataset import Embedding
from simtrain.data.features import Stimuli


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
