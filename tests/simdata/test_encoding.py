import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simdata.encoding import ENCODINGS

Z_SCORES = arrays(np.float32, 50, elements=st.floats(-7.875, 7.875, width=32))


@pytest.mark.parametrize("name", ENCODINGS)
@given(z=Z_SCORES)
def test_stored_values_keep_within_the_stated_bound(name, z):
    encoding = ENCODINGS[name]
    stored = np.empty(z.shape, encoding.dtype)
    assert encoding.encode(z.copy(), stored) == 0
    error = np.abs(stored.astype(np.float64) * encoding.scale - z)
    # Below its smallest normal number, float16 has a fixed step of 6e-8.
    assert (error <= encoding.error_bound(z) + 6e-8).all()


def test_int8_clips_counts_and_never_writes_its_fill():
    encoding = ENCODINGS["int8"]
    z = np.array([-100, -8.1, -7.9375, 0, 7.9375, 8.1, 100], np.float32)
    stored = np.empty(z.shape, np.int8)
    assert encoding.encode(z.copy(), stored) == 4
    assert stored.tolist() == [-127, -127, -127, 0, 127, 127, 127]
    assert encoding.fill == -128


def test_int8_error_is_below_a_thirtieth_of_an_sd():
    assert ENCODINGS["int8"].error_bound(np.zeros(1))[0] < 1 / 30
