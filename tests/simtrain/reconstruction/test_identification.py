import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtrain.reconstruction.identification import Reference, Tally, two_way


@given(st.integers(0, 999))
def test_two_way_identification_equals_a_loop(seed):
    rng = np.random.default_rng(seed)
    count = 24
    table = rng.integers(0, 4, (count, count)).astype("f4")  # with ties
    group, second = np.sort(rng.integers(0, 3, count)), np.sort(rng.permutation(60)[:count])
    found = two_way(table, group, second)
    for i in range(count):
        for j in range(count):
            others = [
                k for k in range(count) if group[k] == group[j] and abs(int(second[k]) - int(second[j])) >= 10
            ]
            if not others:
                assert np.isnan(found[i, j])
                continue
            wins = [(table[i, k] < table[i, j]) + (table[i, k] == table[i, j]) / 2 for k in others]
            assert found[i, j] == pytest.approx(np.mean(wins))


def test_two_way_identification_of_noise_is_at_one_half_and_of_the_truth_at_one():
    rng = np.random.default_rng(0)
    shares = two_way(rng.standard_normal((90, 90)).astype("f4"), np.zeros(90, int), np.arange(90))
    assert np.diag(shares).mean() == pytest.approx(0.5, abs=0.1)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)
    assert (np.diag(two_way(np.eye(90, dtype="f4"), np.zeros(90, int), np.arange(90))) == 1).all()


def test_chance_and_p_equal_a_loop_over_shifts():
    rng = np.random.default_rng(0)
    tally, tables = Tally(40), [rng.standard_normal((12, 12)).astype("f4") for _ in range(3)]
    tables[1][:, 4] = np.nan
    shifts = np.stack([(np.arange(12) + by) % 12 for by in [0, *rng.integers(1, 12, 40)]])
    for table in tables:
        tally.add(table, shifts)
    found = tally.outcome()
    np.testing.assert_array_equal(found.value, np.concatenate([np.diag(table) for table in tables]))
    total = [np.nansum([table[i, j] for table in tables for j, i in enumerate(shift)]) for shift in shifts]
    assert found.p == pytest.approx((1 + sum(one >= total[0] - 1e-9 for one in total[1:])) / 41)
    chance = [np.mean([table[shift[j], j] for shift in shifts[1:]]) for table in tables for j in range(12)]
    np.testing.assert_allclose(found.chance, chance, atol=1e-6)


def test_what_is_not_looked_up_has_no_chance():
    reference = Reference()
    reference.add(np.array([1, 2], "f4"))
    reference.add(np.array([3], "f4"))
    found = reference.outcome()
    assert found.value.tolist() == [1, 2, 3]
    assert np.isnan(found.chance).all()
    assert found.p is None
