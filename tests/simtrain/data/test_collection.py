"""Several stores as one."""

import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from training_runs import TINY

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.agreement import resolve_on_all
from simtrain.data.collection import by_store, distinct_names, joined, open_reader, run_in
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.moments import find_moments
from simtrain.data.sets import with_splits
from simtrain.data.windows import Windows, validation

CONFIG = load("demo", TINY)


@pytest.fixture(scope="module")
def both(store, other_store):
    return joined([open_dataset(store), open_dataset(other_store)])


def changed(store, path, change):
    """A store with the BOLD of another one, and ``change`` made to the rest of it."""
    shutil.copytree(store, path, ignore=shutil.ignore_patterns("bold"))
    (path / "bold").symlink_to(store / "bold", target_is_directory=True)
    change(zarr.open_group(path, mode="r+", use_consolidated=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    return path


def test_one_store_is_itself(store):
    dataset = open_dataset(store)
    assert joined([dataset]) is dataset


@pytest.mark.parametrize("moments", ["clips", "shown", "any"])
def test_windows_are_those_of_each_store(both, moments):
    config = resolve_on_all(load("demo", [*TINY, f"data.moments={moments}"]), both)
    found = by_store(find_moments(Windows.of(both, config), moments), both)
    subjects = movies = 0
    for part, own in zip(both.parts, found, strict=True):
        alone = find_moments(Windows.of(part, resolve(config, part)), moments)
        alone["subject"] += subjects
        alone["movie"] += movies
        assert np.array_equal(np.sort(own), np.sort(alone))
        subjects, movies = subjects + len(part.subjects), movies + len(part.movies)
    assert len(validation(found[1]))


def test_bold_is_that_of_each_store(both):
    config = resolve_on_all(CONFIG, both)
    windows = Windows.of(both, config).find()[::37]
    index = np.stack([windows["subject"], windows["movie"], windows["second"], windows["movie"] % 2], axis=1)
    found = open_reader(both).read(index, 3)
    for window, (subject, movie, second, side) in zip(found, index.tolist(), strict=True):
        number, *run = run_in(both, subject, movie)
        alone = BoldReader(both.parts[number].path).read([(*run, second, side)], 3)
        assert np.array_equal(window, alone[0])
    assert len({run_in(both, subject, movie)[0] for subject, movie, *_ in index.tolist()}) == 2


def test_the_cortex_is_what_is_cortex_in_all(both):
    one, other = (part.cortex for part in both.parts)
    assert np.array_equal(both.cortex, one & other)
    assert 0 < both.cortex.sum() < one.sum()


def test_features_stand_behind_one_another(both):
    whole = both.embedding("video_shapes").values
    assert whole.shape == (5, 70, 10)
    for part, own in zip(both.parts, np.split(whole, [2]), strict=True):
        alone = part.embedding("video_shapes").values
        assert np.array_equal(own[:, : alone.shape[1]], alone, equal_nan=True)
        assert np.isnan(own[:, alone.shape[1] :]).all()


def test_names_are_distinct(store, other_store):
    one, other = open_dataset(store), open_dataset(other_store)
    assert distinct_names([one, other, one, one]) == ("small", "other", "small-2", "small-3")


def test_a_store_twice_is_refused(store):
    with pytest.raises(UserError, match=r"small\.zarr is given 2 times"):
        joined([open_dataset(store), open_dataset(str(store))])


def _half(group):
    group["simdata_metadata"].attrs["stimulus_lag"] = 4


def _wide(group):
    rows = group["video_shapes"][:]
    del group["video_shapes"]
    attributes = {"modality": "video", "encoder": "shapes", "window": 3.0, "stride": 1.0}
    group.create_array(
        "video_shapes",
        data=np.concatenate([rows, rows], axis=2),
        dimension_names=("movie", "second", "wide_feature"),
        attributes=attributes,
    )


def _other_weights(group):
    group["video_shapes"].attrs["weights_sha256"] = "1" * 64


def _longer_clips(group):
    group["audio_tones"].attrs["window"] = 4.0


def _silent(group):
    del group["audio_tones"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_half, r"data\.lag is 6 s in .*small\.zarr, 4 s in .*changed\.zarr: choose one"),
        (_wide, r"video_shapes differs in features: 10 in .*small\.zarr, 20 in .*changed\.zarr"),
        (_other_weights, r"video_shapes differs in encoder, weights and settings: .* in .*changed\.zarr"),
        (_longer_clips, r"audio_tones differs in s of a clip: 3 in .*small\.zarr, 4 in"),
        (
            _silent,
            r"changed\.zarr has no embedding of audio; it has: video_shapes; take `modalities` fmri,video",
        ),
    ],
)
def test_stores_that_disagree_are_told_what_differs(store, other_store, tmp_path, change, fault):
    dataset = open_dataset(changed(other_store, tmp_path / "changed.zarr", change))
    with pytest.raises(UserError, match=fault):
        resolve_on_all(CONFIG, joined([open_dataset(store), dataset]))


def test_what_both_have_is_chosen_by_name(rich_store, other_store):
    both = joined([open_dataset(rich_store), open_dataset(other_store)])
    with pytest.raises(UserError, match=r"rich\.zarr has 2 video embeddings"):
        resolve_on_all(CONFIG, both)
    config = resolve_on_all(load("demo", [*TINY, "data.video=shapes"]), both)
    assert both.embeddings(config).keys() == {"video", "audio"}
    assert resolve_on_all(load("sim-tiny", kind=PretrainConfig), both).data.lag == 6


def test_a_subject_in_other_sets_is_refused_within_a_data_set_alone(store, other_store, tmp_path):
    one = open_dataset(store)
    copy = open_dataset(changed(store, tmp_path / "copy.zarr", lambda group: None))
    assert joined([one, copy]).names == ("small", "small-2")
    for splits, what in (
        ({"subjects": {"val": ["s4"], "test": ["s1", "s5"]}}, "subject s1 and 1 more"),
        ({"scenes": {"clips": {"test": ["alpha"]}}}, "the scenes of M1 and 1 more"),
    ):
        with pytest.raises(UserError, match=f"are of one data set, and have {what} in other sets"):
            joined([one, with_splits(copy, splits)])
    assert "s1" in one.subjects, "of which the other data set tests its own"
    assert joined([one, open_dataset(other_store)]).subjects[-2:] == ["other/s1", "other/t4"]


def test_other_types_of_bold_are_refused(store, other_store, tmp_path):
    part = xr.open_zarr(other_store, chunks=None).isel(subject=[0, 3], movie=[2]).load()
    for variable in part.variables.values():
        variable.encoding = {}
    part["bold"] = part.bold.astype("f2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part.to_zarr(tmp_path / "f.zarr", zarr_format=3, consolidated=True)
    with pytest.raises(UserError, match=r"differ in BOLD type: int8 in .*small\.zarr, float16 in .*f\.zarr"):
        joined([open_dataset(store), open_dataset(tmp_path / "f.zarr")])
