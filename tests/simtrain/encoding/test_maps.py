"""What maps of subjects come to."""

import numpy as np
import pytest

from simtrain.encoding.maps import Collected
from simtrain.encoding.shift_null import q_values

VERTICES = np.array([1, 2, 4])


@pytest.fixture
def added():
    rng = np.random.default_rng(0)
    r, null = rng.uniform(-0.1, 0.3, (2, 2, 3)), rng.uniform(-0.3, 0.3, (2, 2, 19, 3))
    collected = Collected(2, (2, 5), 19)
    for subject in range(2):
        for side in range(2):
            p = (1 + (null[subject, side] >= r[subject, side]).sum(axis=0)) / 20
            measures = {"r": r[subject, side], "p": p}
            if subject == 1:
                measures["explainable_variance"] = np.array([0.16, 0.0, 0.25])
                measures["normalised_r"] = np.array([1.0, np.nan, 1.0])
            collected.add(subject, side, VERTICES, measures, null[subject, side])
    return r, null, *collected.finished()


def test_p_of_the_mean_is_of_shifts_that_all_subjects_share(added):
    r, null, _, means = added
    np.testing.assert_allclose(means["r"][:, VERTICES], r.mean(axis=0), rtol=1e-6)
    expected = (1 + (null.mean(axis=0) >= r.mean(axis=0)[:, None]).sum(axis=1)) / 20
    np.testing.assert_allclose(means["p"][:, VERTICES], expected, rtol=1e-6)
    np.testing.assert_allclose(means["q"], q_values(means["p"]), rtol=1e-6)
    assert np.isnan(means["p"][:, [0, 3]]).all()


def test_q_is_of_the_vertices_of_each_subject(added):
    *_, maps, _ = added
    for p, q in zip(maps["p"], maps["q"], strict=True):
        np.testing.assert_allclose(q, q_values(p), rtol=1e-6)


def test_a_subject_without_repeats_has_no_ceiling_and_is_left_out_of_the_mean(added):
    r, _, maps, means = added
    assert np.isnan(maps["explainable_variance"][0]).all()
    np.testing.assert_allclose(means["explainable_variance"][:, VERTICES], [[0.16, 0, 0.25]] * 2, rtol=1e-6)
    expected = r.mean(axis=0) / [0.4, np.nan, 0.5]
    np.testing.assert_allclose(means["normalised_r"][:, VERTICES], expected, rtol=1e-6)
