import numpy as np

from simdata.store.encoding import ENCODINGS


def test_int8_error_is_below_a_thirtieth_of_an_sd():
    assert ENCODINGS["int8"].error_bound(np.zeros(1))[0] < 1 / 30
