import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.bold.transposition import padded, transpose


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32"])
@settings(deadline=None)  # the first example compiles
@given(vertices=st.integers(1, 70), volumes=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_any_shape_is_transposed_into_any_place(dtype, vertices, volumes, seed):
    rng = np.random.default_rng(seed)
    size = np.dtype(dtype).itemsize
    block = rng.integers(0, 255, (vertices, padded(volumes) * size), np.uint8).view(dtype)
    # As in a shard: seconds are a checksum apart, so words do not lie on addresses that they divide.
    whole = rng.integers(0, 255, (volumes, (vertices + 5) * size + 4), np.uint8)
    before = whole.copy()
    out = whole[:, :-4].view(dtype)[:, 3 : 3 + vertices]
    transpose(block, out)
    np.testing.assert_array_equal(out, block[:, :volumes].T)
    around = np.ones(whole.shape, bool)
    around[:, 3 * size : (3 + vertices) * size] = False
    np.testing.assert_array_equal(whole[around], before[around])
