"""Retrieval in validation, beside the same with every pool drawn and every window looked at by itself."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from training_runs import start_run

from simdata.store import BoldReader
from simtrain.data import windows
from simtrain.data.feeds import Batch
from simtrain.data.order import Cursor
from simtrain.data.windows import Windows
from simtrain.models.learner import Learner
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.validation_retrieval import expected_top1, overall

TRAIN, VAL, TEST = 1, 2, 3


@pytest.mark.parametrize("ahead", range(6))
def test_top1_is_the_share_of_all_pools_in_which_the_true_one_comes_first(ahead):
    pools = list(combinations(range(6), 3))
    first = [min(pool) >= ahead for pool in pools]
    found = expected_top1(torch.tensor([ahead]), torch.tensor([6]), pool=4)
    assert float(found) == pytest.approx(np.mean(first), abs=1e-12)


def test_top1_of_the_tests_pools_is_hypergeometric():
    ahead, negatives = torch.tensor([0, 1, 5, 700, 3, 0]), torch.tensor([900, 900, 900, 700, 20, 20])
    drawn = negatives.clamp(max=31)
    expected = hypergeom.pmf(0, negatives, ahead, drawn)
    np.testing.assert_allclose(expected_top1(ahead, negatives), expected, atol=1e-9)


def test_samples_are_looked_for_among_the_clips_of_their_movie_and_set(store, tmp_path):
    dataset, run = start_run(store, tmp_path / "run", "data.frames=4")
    used = Windows.of(dataset, run.config)
    clips = np.where(used.clips == TEST, VAL, used.clips).astype(np.int8)  # the store has no such scenes
    torch.manual_seed(3)
    learner = Learner(run.config, dataset, used.embeddings)
    learner.stimuli.fit(used.clips)
    training = ContrastiveTraining(run.config, learner.eval(), clips)
    found = used.find()
    found = found[found["subject_split"] != TEST]
    found["scene_split"] = clips[found["movie"], found["clip"]]
    samples = windows.by_hemisphere(found)[::5]
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    stored = torch.from_numpy(BoldReader(store).read(index, 4))
    with torch.no_grad():
        scores = training.scores(Batch(samples, stored, Cursor(0, 1)))
        fmri = learner.embed_fmri(samples, stored).numpy()
    expected = {}
    for sample, vector in zip(samples, fmri, strict=True):
        if sample["subject_split"] == TRAIN and sample["scene_split"] == TRAIN:
            continue
        group = "new-scenes" if sample["scene_split"] == VAL else "new-subjects"
        others = [
            second
            for second in range(clips.shape[1])
            if clips[sample["movie"], second] == sample["scene_split"] and abs(second - sample["clip"]) >= 4
        ]
        at = np.array([sample["clip"], *others])
        with torch.no_grad():
            embedded = learner.embed_clips(np.full(len(at), sample["movie"]), at)
        for modality, vectors in embedded.items():
            own, *rest = vectors.numpy() @ vector
            ahead = sum(other >= own for other in rest)
            chance = hypergeom.pmf(0, len(rest), ahead, min(31, len(rest)))
            expected.setdefault(f"{group}-top1-{modality}", []).append(chance)
    assert set(expected) == {
        f"{g}-top1-{m}" for g in ("new-subjects", "new-scenes") for m in ("video", "audio")
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name].numpy(), values, atol=1e-6, err_msg=name)


def test_groups_count_alike_however_many_modalities_and_samples_they_have():
    values = {"new-subjects-top1-video": 0.5, "new-subjects-top1-audio": 0.1, "new-scenes-top1-video": 0.2}
    values |= {"loss": 9.0}
    assert overall(values) == {"retrieval": pytest.approx((0.3 + 0.2) / 2)}
    assert overall({"loss": 1.0}) == {}
