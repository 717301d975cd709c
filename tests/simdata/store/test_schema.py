import json
import os
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from empty_stores import CATALOG, make_store

import simdata
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.sources import Run
from simdata.store import schema
from simdata.store.encoding import ENCODINGS
from simdata.store.lock import exclusive
from simdata.store.provenance import Provenance
from simdata.surface.meshes import icosphere

RUN_DIMS = ("subject", "movie")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("schema") / "hcp.zarr")


def test_plain_xarray_sees_every_variable_with_its_dimensions(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(store)
    assert {name: variable.dims for name, variable in opened.data_vars.items()} == {
        "bold": (*RUN_DIMS, "second", "hemisphere", "vertex"),
        "bold_mean": (*RUN_DIMS, "hemisphere", "vertex"),
        "bold_std": (*RUN_DIMS, "hemisphere", "vertex"),
        "run": (*RUN_DIMS, "second"),
        "run_status": RUN_DIMS,
        "run_source": RUN_DIMS,
        "frame": ("movie", "second", "y", "x", "channel"),
        "waveform": ("movie", "second", "sample"),
        "film_status": ("movie",),
        "film_source": ("movie",),
        "film_duration": ("movie",),
        "segment": ("movie", "second"),
        "scene_split": ("movie", "second"),
        "video_motion": ("movie", "second", "motion_feature"),
        "audio_mel": ("movie", "second", "mel_feature"),
        "cortex": ("hemisphere", "vertex"),
        "sphere": ("hemisphere", "vertex", "xyz"),
        "faces": ("face", "corner"),
        "simdata_metadata": (),
    }
    assert dict(opened.sizes) | {"subject": 2, "movie": 4, "second": 921, "vertex": 40_962} == dict(
        opened.sizes
    )
    assert opened.subject.values.tolist() == ["100610", "102311"]
    assert opened.hemisphere.values.tolist() == ["L", "R"]
    assert opened.TR.values.tolist() == [1.0] * 4
    assert opened.phase_encoding.values.tolist() == ["AP", "PA", "PA", "AP"]
    assert opened.volumes.values.tolist() == [921, 918, 915, 901]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_absent_reads_as_nan(tmp_path, encoding):
    opened = xr.open_zarr(make_store(tmp_path / "s.zarr", encoding), chunks=None)
    assert np.isnan(opened.bold.isel(subject=0, movie=0, second=0)).all()
    assert np.isnan(opened.bold_mean.isel(subject=1)).all()
    assert np.isnan(opened.video_motion.isel(movie=3)).all()
    assert (opened.run_status == 0).all()


def test_segments_and_splits_are_flags(store):
    opened = simdata.open(store)
    names = opened.simdata.flag_names("segment")
    first = opened.segment.sel(movie="MOVIE1").values
    assert [names[first[second]] for second in (0, 19, 20, 263, 264, 285, 818, 900, 901)] == [
        *["rest", "rest", "twomen", "twomen", "rest", "bridgeville", "test-retest", "test-retest", "rest"]
    ]
    splits = opened.simdata.flag_names("scene_split")
    of_first = opened.scene_split.sel(movie="MOVIE1").values
    assert [splits[of_first[second]] for second in (0, 20, 131, 132, 151, 152, 263, 850)] == [
        *["none", "train", "train", "guard", "guard", "test", "test", "none"]
    ]
    of_validation = opened.scene_split.sel(movie="MOVIE1", second=slice(285, 504)).values
    assert [splits[of_validation[second]] for second in (0, 99, 100, 119, 120, 219)] == [
        *["train", "train", "guard", "guard", "val", "val"]
    ]


def test_right_sphere_mirrors_the_left(store):
    sphere = xr.open_zarr(store).sphere.values
    np.testing.assert_allclose(sphere[0], icosphere(6)[0], atol=1e-5)
    np.testing.assert_array_equal(sphere[1], sphere[0] * np.array([-1, 1, 1], np.float32))


def test_subjects_are_appended_and_nothing_else_changes(tmp_path):
    path = make_store(tmp_path / "s.zarr")
    before = xr.open_zarr(path)
    schema.append_subjects(path, CATALOG, ["999999"])
    after = xr.open_zarr(path)
    assert after.subject.values.tolist() == ["100610", "102311", "999999"]
    assert after.subject_split.values[:2].tolist() == before.subject_split.values.tolist()
    assert after.run_status.shape == (3, 4)
    assert after.bold.encoding["shards"] == before.bold.encoding["shards"]
    assert after.bold.attrs == before.bold.attrs
    assert np.isnan(after.bold.isel(subject=2, movie=0, second=3).values).all()


@pytest.mark.parametrize("step", range(9))
def test_a_kill_while_subjects_join_is_undone(tmp_path, monkeypatch, step):
    path, calls = make_store(tmp_path / "s.zarr"), iter(range(100))

    def killed(function):
        def stop(*arguments, **options):
            if next(calls) == step:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return stop

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Array, "resize", killed(zarr.Array.resize))
        patched.setattr(zarr.Array, "__setitem__", killed(zarr.Array.__setitem__))
        patched.setattr(zarr, "consolidate_metadata", killed(zarr.consolidate_metadata))
        with pytest.raises(KeyboardInterrupt):
            schema.append_subjects(path, CATALOG, ["999998", "999999"])
    assert xr.open_zarr(path).subject.values.tolist() == ["100610", "102311"]
    with exclusive(path):  # settles it
        schema.append_subjects(path, CATALOG, ["777777"])
    after = xr.open_zarr(path, consolidated=False)
    assert after.subject.values.tolist() == ["100610", "102311", "777777"]
    assert after.run_status.values[2].tolist() == [0, 0, 0, 0]
    assert np.isnan(after.bold.isel(subject=2, movie=0, second=3).values).all()


def test_a_store_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    move = os.replace

    def stop_before_the_last_step(source, target):
        if str(source).endswith(".creating"):
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", stop_before_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            make_store(tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()
    make_store(tmp_path / "s.zarr")
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]


def test_opening_something_else_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="is not a simdata store"):
        simdata.open(tmp_path)
    xr.Dataset({"x": ("t", [1.0])}).to_zarr(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(UserError, match="no variable 'simdata_metadata', whose attributes say"):
        simdata.open(tmp_path / "other.zarr")


def test_provenance_survives_a_kill_and_ends_in_the_store(tmp_path):
    path, source = make_store(tmp_path / "s.zarr"), tmp_path / "run.nii"
    source.write_bytes(b"data")
    status = source.stat()
    entry = {"path": "run.nii", "size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": ""}
    Provenance(path).record("100610/MOVIE1", entry)
    with (path / ".build/journal.jsonl").open("a") as journal:
        journal.write('{"key": "100610/MOV')  # as a kill leaves it
    again = Provenance(path)
    one, two = (
        Run.of_file("100610", movie, source, "run.nii")
        for movie in catalogs.load("hcp7t-movie")[0].movies[:2]
    )
    assert again.is_current(one)
    assert not again.is_current(two)
    again.close()
    stored = xr.open_zarr(path).run_source
    assert json.loads(stored.sel(subject="100610", movie="MOVIE1").values.item()) == entry
    assert (stored.values != "").sum() == 1
    source.write_bytes(b"changed")
    assert not Provenance(path).is_current(one)


def test_a_second_build_is_kept_out_and_leftovers_are_cleared(tmp_path):
    path = make_store(tmp_path / "s.zarr")
    (path / ".build/staging").mkdir(parents=True)
    (path / ".build/staging/half.shard").touch()
    with exclusive(path) as staging:
        assert not any(staging.iterdir())
        with pytest.raises(UserError, match="another build is writing"), exclusive(path):
            pass
    assert not (path / ".build").exists()
