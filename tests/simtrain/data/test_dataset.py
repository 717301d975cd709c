import warnings

import numpy as np
import pytest
import xarray as xr

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve


def test_a_store_is_read_as_xarray_shows_it(store):
    dataset = open_dataset(store)
    with xr.open_zarr(store) as expected:
        assert dataset.subjects == expected.subject.values.tolist()
        np.testing.assert_array_equal(dataset.cortex, expected.cortex)
        np.testing.assert_array_equal(dataset.embedding("video_shapes").values, expected.video_shapes)
    assert dataset.complete.sum() == 11
    assert not dataset.complete[2, 1]
    assert dataset.subject_split.tolist() == [1, 1, 1, 2, 3, 3]
    assert dataset.encoders == {"video": ["shapes"], "audio": ["tones"], "text": []}
    assert dataset.embedding("audio_tones").window == 3


def test_a_folder_that_is_no_store_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a simdata store"):
        open_dataset(tmp_path / "nothing")


def test_an_unknown_format_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.Dataset(attrs={"format_version": "0.3"}).to_zarr(tmp_path / "old.zarr", consolidated=True)
    with pytest.raises(UserError, match=r"format version 0\.3"):
        open_dataset(tmp_path / "old.zarr")


def test_resolving_fills_in_the_only_encoders_and_the_lag(store):
    config = resolve(load("sim-tiny"), open_dataset(store))
    assert (config.data.video, config.data.audio, config.data.lag) == ("shapes", "tones", 6)
    config = resolve(load("sim-tiny", ["data.lag=4", "data.audio=tones"], "fmri,video"), open_dataset(store))
    assert (config.data.video, config.data.audio, config.data.lag) == ("shapes", None, 4)


def test_a_missing_or_ambiguous_encoder_lists_those_there_are(store):
    with pytest.raises(UserError, match=r"no video embedding 'clip' \(data\.video\); it has: shapes"):
        resolve(load("sim-tiny", ["data.video=clip"]), open_dataset(store))
    dataset = open_dataset(store)
    dataset.encoders["video"].append("colours")
    with pytest.raises(
        UserError, match=r"2 video embeddings \(shapes, colours\): choose with `overrides` data\.video"
    ):
        resolve(load("sim-tiny"), dataset)
    dataset.encoders["audio"].clear()
    with pytest.raises(UserError, match=r"no embedding of audio; it has: video_shapes, video_colours"):
        resolve(load("sim-tiny", ["data.video=shapes"]), dataset)
