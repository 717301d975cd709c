"""The spin test against one written out vertex by vertex, and at what rate it errs."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import pearsonr, spearmanr

from simdata.surface.meshes import icosphere
from simtrain.surface.spin_test import spin_test

MIRROR = np.array([-1.0, 1, 1])
LEFT = icosphere(3)[0]
SPHERES = {"L": LEFT, "R": LEFT * MIRROR}
ROTATIONS = 40


def _smooth(rng, count, waves=30, scale=20):
    """(count, vertices) of each hemisphere: random fields, alike in all directions."""
    maps = {}
    for side, xyz in SPHERES.items():
        waves_of = rng.standard_normal((count, waves, 3)) / scale
        phases = rng.uniform(0, 2 * np.pi, (count, waves, 1))
        maps[side] = np.sin(waves_of @ xyz.T + phases).sum(axis=1)
    return maps


def _without_medial_wall(maps):
    """NaN at the inner side of each hemisphere."""
    wall = {"L": LEFT[:, 0] > 75, "R": SPHERES["R"][:, 0] < -75}
    return {side: np.where(wall[side], np.nan, values) for side, values in maps.items()}


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize(("statistic", "expected"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_it_is_what_every_vertex_s_nearest_turned_one_gives(statistic, expected, mirrored):
    rng = np.random.default_rng(1)
    maps, others = _without_medial_wall(_smooth(rng, 2)), _without_medial_wall(_smooth(rng, 1))
    others["L"][0, :40] = np.nan  # a hole that is not in the other
    spheres = dict(SPHERES)
    if not mirrored:  # a right sphere with vertices of its own
        order = rng.permutation(len(LEFT))
        spheres["R"], maps["R"], others["R"] = spheres["R"][order], maps["R"][:, order], others["R"][:, order]
    found = spin_test(maps, others, spheres, statistic=statistic, rotations=ROTATIONS, seed=5)
    nulls = []
    for rotation in Rotation.random(ROTATIONS, rng=np.random.default_rng(5)):
        one, other = [], []
        for side, xyz in spheres.items():
            turn = np.diag(MIRROR) @ rotation.as_matrix() @ np.diag(MIRROR)
            turned = xyz @ (rotation.as_matrix() if side == "L" else turn).T
            nearest = (xyz @ turned.T).argmax(axis=1)
            one.append(maps[side][:, nearest])
            other.append(others[side][0])
        one, other = np.concatenate(one, axis=1), np.concatenate(other)
        kept = ~np.isnan(one[0]) & ~np.isnan(other)
        nulls.append([expected(each[kept], other[kept]).statistic for each in one])
    np.testing.assert_allclose(found.nulls[..., 0], nulls, atol=1e-10)
    one, other = np.concatenate([maps["L"], maps["R"]], 1), np.concatenate([others["L"], others["R"]], 1)[0]
    kept = ~np.isnan(one[0]) & ~np.isnan(other)
    for row in range(2):
        r = expected(one[row][kept], other[kept]).statistic
        assert found.r[row, 0] == pytest.approx(r, abs=1e-10)
        stronger = sum(abs(null[row]) >= abs(r) for null in nulls)
        assert found.p[row, 0] == pytest.approx((1 + stronger) / (1 + ROTATIONS))
    assert found.vertices == kept.sum()


@pytest.mark.parametrize("walled", [False, True])
def test_unrelated_maps_are_found_related_as_often_as_p_says(walled):
    rng = np.random.default_rng(0)
    maps, others = _smooth(rng, 20), _smooth(rng, 20)
    if walled:
        maps, others = _without_medial_wall(maps), _without_medial_wall(others)
    found = spin_test(maps, others, SPHERES, rotations=99)
    rates = [(found.p <= level).mean() for level in (0.05, 0.2)]
    assert 0.02 < rates[0] < 0.08
    assert 0.14 < rates[1] < 0.26
    # By the number of vertices, most would be.
    assert (np.abs(found.r) > 1.96 / found.vertices**0.5).mean() > 0.4


def test_a_map_with_itself_has_the_least_p():
    maps = _without_medial_wall(_smooth(np.random.default_rng(0), 1))
    found = spin_test(maps, maps, SPHERES, rotations=99)
    assert found.r[0, 0] == pytest.approx(1)
    assert found.p[0, 0] == pytest.approx(0.01)
    opposite = spin_test(maps, {side: -values for side, values in maps.items()}, SPHERES, rotations=99)
    assert opposite.r[0, 0] == pytest.approx(-1)
    assert opposite.p[0, 0] == pytest.approx(0.01)


def test_one_hemisphere_turns_as_it_does_beside_the_other():
    maps = _smooth(np.random.default_rng(0), 1)
    right = {"R": maps["R"]}
    alone = spin_test(right, right, {"R": SPHERES["R"]}, rotations=3)
    nearest = Rotation.random(3, rng=np.random.default_rng(0)).as_matrix()
    turned = SPHERES["R"] @ (np.diag(MIRROR) @ nearest[2] @ np.diag(MIRROR)).T
    expected = maps["R"][0][(SPHERES["R"] @ turned.T).argmax(axis=1)]
    assert alone.nulls[2, 0, 0] == pytest.approx(pearsonr(expected, maps["R"][0]).statistic, abs=1e-10)


def test_a_turned_map_that_does_not_vary_speaks_against():
    """A single vertex that is often turned to where the other map has no data."""
    point = np.zeros((1, len(LEFT)))
    point[0, 0] = 1
    half = np.where(LEFT[:, 2] > 0, point + LEFT[:, 1] / 1000, np.nan)
    found = spin_test({"L": point}, {"L": half}, {"L": LEFT}, rotations=50)
    assert np.isnan(found.nulls).any()
    assert found.p[0, 0] > np.isnan(found.nulls).mean()
