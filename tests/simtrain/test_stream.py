import numpy as np
import pytest
import torch
import xarray as xr

from simdata.store import BoldReader
from simtrain.stream import READ_AHEAD, Stream
from simtrain.windows import SAMPLE

CPU = torch.device("cpu")


def _samples(n):
    rng = np.random.default_rng(0)
    samples = np.zeros(n, SAMPLE)
    samples["subject"], samples["second"] = rng.integers(0, 6, n), rng.integers(0, 58, n)
    samples["hemisphere"] = rng.integers(0, 2, n)
    return samples


def test_batches_arrive_in_order_with_the_stored_values(store):
    samples = _samples(50)
    cuts = [samples[start : start + 8] for start in range(0, 50, 8)]
    assert len(cuts) > READ_AHEAD, "buffers are used more than once"
    with xr.open_zarr(store, mask_and_scale=False) as truth:
        bold = truth.bold.isel(movie=0).values
    with Stream(BoldReader(store), zip(cuts, "abcdefg", strict=True), size=8, frames=3, device=CPU) as stream:
        for batch, cut, note in zip(stream, cuts, "abcdefg", strict=True):
            assert batch.note == note
            np.testing.assert_array_equal(batch.samples, cut)
            for sample, stored in zip(cut, batch.stored.numpy(), strict=True):
                seconds = slice(sample["second"], sample["second"] + 3)
                np.testing.assert_array_equal(stored, bold[sample["subject"], seconds, sample["hemisphere"]])
    assert stream.waited > 0


def test_an_error_of_the_reading_thread_reaches_the_consumer(store):
    outside = _samples(4)
    outside["subject"] = 99
    with (
        Stream(BoldReader(store), [(outside, None)], size=4, frames=3, device=CPU) as stream,
        pytest.raises(IndexError),
    ):
        next(iter(stream))


def test_leaving_early_ends_the_thread(store):
    endless = iter(lambda: (_samples(4), None), None)
    with Stream(BoldReader(store), endless, size=4, frames=3, device=CPU) as stream:
        next(iter(stream))
    assert not stream._thread.is_alive()
