import numpy as np
import pytest

from simtrain.data.feeds.non_temporal import copy_windows


@pytest.mark.parametrize("width", [1, 7, 63, 64, 65, 200, 40962])
@pytest.mark.parametrize("offset", [0, 1, 33])
def test_windows_are_those_of_numpy_and_nothing_beside_them_is_written(width, offset):
    rng = np.random.default_rng(width)
    rows = rng.integers(0, 256, (20, width), dtype=np.uint8)
    first = rng.integers(0, 18, 5)
    memory = np.full(offset + 5 * 3 * width + 100, 9, np.uint8)
    out = memory[offset : offset + 5 * 3 * width].reshape(5, -1)
    copy_windows(rows, first, out)
    np.testing.assert_array_equal(out, np.stack([rows[start : start + 3].reshape(-1) for start in first]))
    assert (memory[:offset] == 9).all()
    assert (memory[offset + 5 * 3 * width :] == 9).all()


def test_rows_that_lie_far_apart_are_found():
    """Positions of bytes go beyond 32 bits; the pages in between are never touched."""
    rows = np.zeros((70_000, 40_962), np.uint8)
    rows[69_998:] = np.arange(2, dtype=np.uint8)[:, None] + 1
    out = np.empty((1, 2 * 40_962), np.uint8)
    copy_windows(rows, np.array([69_998]), out)
    np.testing.assert_array_equal(out, rows[69_998:].reshape(1, -1))
