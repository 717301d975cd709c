import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simdata.encoders import uniform_frames


@given(frames=st.integers(1, 64), window=st.integers(1, 16), second=st.integers(0, 100))
def test_uniform_frames_are_in_the_middles_of_equal_parts(frames, window, second):
    rate, phase, index = uniform_frames(frames, window)
    times = (second * rate + index + phase) / rate
    np.testing.assert_allclose(times, second + (np.arange(frames) + 0.5) * window / frames)
    assert index.min() >= 0
    assert index.max() < window * rate
    assert rate <= frames
