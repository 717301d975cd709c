"""`simdata resplit`: other sets in the same store."""

import shutil

import pytest
import xarray as xr
import yaml
import zarr
from cifti_files import noise, write_dtseries
from store_files import CATALOG, VOLUMES, build, call, contents, opened

import simdata
from simdata.common.errors import UserError
from simdata.store import revision
from simdata.store.lock import exclusive

LISTS = {"subjects": {"train": ["2"], "test": ["1"]}, "scenes": {"clips": {"test": ["clipB"]}}}


def sets(store):
    with xr.open_zarr(store, chunks=None) as dataset:
        return dataset.subject_split.values.tolist(), dataset.scene_split.values.tolist()


def test_sets_are_those_of_a_store_that_is_built_with_these_splits(own):
    before = contents(own / "s.zarr", ("zarr.json", "subject_split", "scene_split"))
    done = simdata.resplit(own / "s.zarr", LISTS)
    assert (done.changed, done.subjects["test"], done.seconds) == (
        True,
        1,
        {"train": 14, "val": 0, "test": 14},
    )
    assert contents(own / "s.zarr", ("zarr.json", "subject_split", "scene_split")) == before
    other = shutil.copytree(own, own.parent / "other")
    shutil.rmtree(other / "s.zarr")
    (other / "mini.yaml").write_text(yaml.safe_dump(CATALOG | {"splits": LISTS}))
    build(other)
    for name in ("subject_split", "scene_split"):
        xr.testing.assert_identical(opened(own)[name], opened(other)[name])
    assert simdata.open(own / "s.zarr").simdata.splits == simdata.open(other / "s.zarr").simdata.splits


def test_the_store_says_so_and_the_catalog_stays(own):
    catalog = simdata.open(own / "s.zarr").simdata.metadata.catalog_text
    assert "by simdata resplit" not in call("info", own / "s.zarr").output
    file = own / "ours.yaml"
    file.write_text(yaml.safe_dump(LISTS))
    result = call("resplit", own / "s.zarr", "--splits", file)
    assert "subjects: 1 test; seconds of film: 14 train, 14 test" in result.output
    assert "splits.subjects.train has 2, which the store does not have" in result.stderr
    assert "splits.subjects.train: no subject with a run in the store is in it" in result.stderr
    assert "ours.yaml (by simdata resplit, not the catalog's)" in call("info", own / "s.zarr").output
    store = simdata.open(own / "s.zarr")
    assert store.simdata.metadata.catalog_text == catalog
    assert store.attrs["history"].endswith("resplit --splits ours.yaml")
    assert "as before" in call("resplit", own / "s.zarr", "--splits", file).output
    assert simdata.open(own / "s.zarr").attrs["history"] == store.attrs["history"]


def test_a_part_that_is_left_out_stays(own):
    simdata.resplit(own / "s.zarr", LISTS)
    simdata.resplit(own / "s.zarr", "halves")
    assert sets(own / "s.zarr")[0] == ["test"]
    assert simdata.open(own / "s.zarr").simdata.splits.subjects.train == ["2"]
    simdata.resplit(own / "s.zarr", {"subjects": {}})
    assert sets(own / "s.zarr")[0] == ["train"]
    assert 3 in sets(own / "s.zarr")[1][0]


def test_a_build_keeps_the_sets_for_subjects_that_join_unless_the_catalogs_were_edited(own):
    simdata.resplit(own / "s.zarr", LISTS)
    for subject in ("2", "3"):
        write_dtseries(
            own / f"bold/{subject}/A.dtseries.nii", noise("32k", VOLUMES["A"], int(subject)), "32k"
        )
    build(own)
    assert sets(own / "s.zarr")[0] == ["test", "train", "none"]
    (own / "mini.yaml").write_text(yaml.safe_dump(CATALOG | {"title": "Renamed"}))
    assert "resplit" not in build(own).output
    assert sets(own / "s.zarr")[0] == ["test", "train", "none"]
    assert "1 train, 1 test, 1 none" in call("info", own / "s.zarr").output
    (own / "mini.yaml").write_text(yaml.safe_dump(CATALOG | {"splits": {"subjects": {"val": ["1"]}}}))
    assert "the splits of `simdata resplit` are no more" in build(own).output
    assert sets(own / "s.zarr")[0] == ["val", "train", "train"]
    assert simdata.open(own / "s.zarr").simdata.metadata.splits == {}


def test_a_store_of_before_there_was_a_guard_learns_the_word(own):
    group = zarr.open_group(own / "s.zarr", mode="r+")
    group["scene_split"].attrs.update(flag_values=[0, 1, 2, 3], flag_meanings="none train val test")
    zarr.consolidate_metadata(own / "s.zarr")
    done = simdata.resplit(
        own / "s.zarr", {"scenes": {"fractions": {"test": [0.5, 0.6], "val": [0.6, 1]}, "guard": 4}}
    )
    assert done.seconds == {"train": 10, "val": 6, "test": 0}
    assert done.warnings == [
        "splits.scenes: no second of a clip is in test with a guard of 4 s: the set is empty"
    ]
    store = simdata.open(own / "s.zarr")
    assert store.simdata.flag_names("scene_split")[4] == "guard"
    assert (store.scene_split == 4).sum() == 12
    assert "(5 / 3 / 0)" in call("info", own / "s.zarr").output


def test_selections_and_rechunked_stores_can_be_divided_too(own, tmp_path):
    part = simdata.open(own / "s.zarr").sel(movie=["B"], second=slice(0, 11))
    part.to_zarr(tmp_path / "part.zarr", zarr_format=3)
    done = simdata.resplit(tmp_path / "part.zarr", "halves")
    assert done.seconds == {"train": 7, "val": 0, "test": 3}, (
        "halves of the whole clip, of which 10 s are here"
    )
    simdata.rechunk(own / "s.zarr", tmp_path / "runs.zarr", layout="runs")
    simdata.resplit(tmp_path / "runs.zarr", "halves")
    simdata.resplit(own / "s.zarr", "halves")
    assert sets(tmp_path / "runs.zarr") == sets(own / "s.zarr")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"subjects": {"test": ["anna"]}},
            r"`splits`: not for the catalog mini: splits\.subjects\.test: 'anna' is",
        ),
        (
            {"scenes": {"clips": {"test": ["x"]}}},
            r"splits\.scenes\.clips\.test: no movie has the clips \['x'\]",
        ),
        (
            {"subjects": {"test": ["7", "8"]}},
            r"`splits`: .*s\.zarr has none of the 2 subjects that are listed",
        ),
        ("published-code", r"published-code: .*s\.zarr has none of the 180 subjects"),
    ],
)
def test_splits_of_another_data_set_are_refused_and_nothing_changes(own, splits, message):
    before = sets(own / "s.zarr")
    with pytest.raises(UserError, match=message):
        simdata.resplit(own / "s.zarr", splits)
    assert sets(own / "s.zarr") == before


def test_readers_see_the_old_sets_or_the_new_ones_if_it_is_killed(own, monkeypatch):
    store = own / "s.zarr"
    old = sets(store)

    def killed(*arguments):
        raise KeyboardInterrupt

    for step, seen in (("_put", "old"), ("_commit", "old"), ("settle_tables", "new")):
        with monkeypatch.context() as patch:
            patch.setattr(revision, step, killed)
            with pytest.raises(KeyboardInterrupt):
                simdata.resplit(store, LISTS)
        now = sets(store)
        assert (now == old) == (seen == "old"), step
        with exclusive(store):
            pass
        assert sets(store) == now
    simdata.resplit(store, LISTS)
    assert sets(store) == now
