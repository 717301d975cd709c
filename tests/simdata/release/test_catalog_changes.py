"""An edited catalog on a store: what follows at once, what is converted again, what is refused."""

import copy
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import yaml
from cifti_files import noise, write_dtseries
from film_files import write_film
from store_files import CATALOG, build, call, contents, opened

import simdata
from simdata.common.errors import UserError
from simdata.release.catalog import Catalog, parse
from simdata.release.catalog_changes import compare
from simdata.store import revision
from simdata.store.lock import exclusive
from simdata.store.revision import revise
from simdata.store.schema import TABLES


def edited(folder, change):
    """Write the catalog with a change made by a function."""
    catalog = copy.deepcopy(CATALOG)
    change(catalog)
    (folder / "mini.yaml").write_text(yaml.safe_dump(catalog))
    return catalog


def new_splits(catalog):
    catalog["splits"] = {"subjects": {"test": ["1"]}, "scenes": {"fractions": {"test": [0.5, 1.0]}}}
    catalog["title"], catalog["reference"], catalog["stimulus_lag"] = "Other", "Somebody", 3


def new_clips(catalog):
    catalog["movies"][0]["segments"] = [
        {"name": f"clip{i}", "start": i, "stop": i + 1} for i in range(catalog["movies"][0]["volumes"])
    ]
    catalog["movies"][1]["phase_encoding"], catalog["movies"][1]["session"] = "PA", 2


def new_movie(catalog):
    segments = [{"name": "late", "start": 3, "stop": 9}, {"name": "test-retest", "start": 10, "stop": 12}]
    catalog["movies"].append({**catalog["movies"][1], "name": "C", "video": "C.mp4", "segments": segments})


def test_splits_titles_and_clips_follow_without_converting_again(own):
    before = opened(own).load()
    for change in (new_splits, new_clips):
        catalog = parse(yaml.safe_dump(edited(own, change)), "edited")
        result = build(own)
        assert "0 converted, 3 already there, 0 skipped" in result.output
        assert "the catalog was edited" in result.output
        after = opened(own).load()
        assert set(after.variables) == set(before.variables)
        for name in set(before.variables) - set(TABLES) - {"simdata_metadata"}:
            xr.testing.assert_identical(after[name].variable, before[name].variable)
        wanted = np.zeros(after.segment.shape, int)
        for row, movie in zip(wanted, catalog.movies, strict=True):
            for segment in movie.segments:
                row[segment.start : segment.stop] = catalog.segment_names.index(segment.name)
        np.testing.assert_array_equal(after.segment, wanted)
        assert after.segment.attrs["flag_meanings"].split() == catalog.segment_names
        assert after.subject_split.values.tolist() == [catalog.splits.subjects.of("1")]
        assert after.phase_encoding.values.tolist() == [movie.phase_encoding for movie in catalog.movies]
        assert after.attrs["title"] == catalog.title
        assert after.simdata.catalog == catalog
        assert after.simdata.metadata.stimulus_lag == catalog.stimulus_lag
        assert set(after.segment.coords) == set(before.segment.coords)
    assert not (own / "s.zarr/.build").exists()
    same = contents(own / "s.zarr")
    build(own)
    assert contents(own / "s.zarr") == same


def test_scenes_are_cut_anew(own):
    edited(own, new_splits)
    build(own)
    split = opened(own).scene_split.values[1]
    assert split.tolist() == [0] * 2 + [1] * 7 + [3] * 7 + [0] * (len(split) - 16)


def test_comments_alone_change_nothing_but_the_text(own):
    text = (own / "mini.yaml").read_text() + "# a comment\n"
    (own / "mini.yaml").write_text(text)
    assert "the catalog was edited (comments only)" in build(own).output
    assert opened(own).simdata.metadata.catalog_text == text


def test_a_movie_that_is_added_joins_the_others(own):
    before = opened(own).load()
    catalog = edited(own, new_movie)
    write_film(own / "movies/C.mp4", seconds=21)
    write_dtseries(own / "bold/1/C.dtseries.nii", noise("32k", catalog["movies"][2]["volumes"], 5), "32k")
    assert "2 converted, 3 already there" in build(own).output
    after = opened(own).load()
    assert after.movie.values.tolist() == ["A", "B", "C"]
    assert after.run_status.values.tolist() == [[1, 0, 1]]
    assert after.film_status.values.tolist() == [1, 1, 1]
    for name in ("bold", "bold_mean", "frame", "waveform", "video_motion_energy", "film_duration"):
        xr.testing.assert_equal(after[name].sel(movie=["A", "B"]), before[name])
    assert np.isfinite(after.bold.sel(movie="C").isel(second=5)).any()
    call("info", own / "s.zarr")
    # What G promises of a store holds of one that grew.
    simdata.open(own / "s.zarr").isel(movie=[1, 2]).to_zarr(own / "part.zarr")
    write_dtseries(own / "bold/2/C.dtseries.nii", noise("32k", catalog["movies"][2]["volumes"], 6), "32k")
    assert "1 converted, 5 already there" in build(own).output
    assert opened(own).run_status.values.tolist() == [[1, 0, 1], [0, 0, 1]]


def test_embeddings_of_others_have_room_for_an_added_movie(own):
    edited(own, new_movie)
    array = xr.Dataset({"mine": ("movie", np.array([1.0, 2.0]))})
    array.to_zarr(own / "s.zarr", mode="a")
    write_film(own / "movies/C.mp4", seconds=21)
    build(own)
    np.testing.assert_array_equal(opened(own).mine, [1, 2, np.nan])


REFUSED = {
    "cleaned otherwise": (lambda c: c.update(clean={"polynomials": 2}), "clean is another, and the store's"),
    "volumes": (lambda c: c["movies"][1].update(volumes=19), r"movies\[1\]\.volumes \(B\) is 19, .* have 20"),
    "removed": (lambda c: c["movies"].pop(), r"movies are A; the store's are A, B"),
    "renamed": (lambda c: c["movies"][0].update(name="Z"), r"movies are Z, B; the store's are A, B"),
    "in another order": (lambda c: c["movies"].reverse(), r"movies are B, A"),
    "longer": (
        lambda c: c["movies"].append({**c["movies"][0], "name": "C", "volumes": 999}),
        r"movies\[2\]\.volumes \(C\) is 999, and the store's seconds end at",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_changes_values_is_refused_and_named(built, kind):
    change, message = REFUSED[kind]
    catalog = copy.deepcopy(CATALOG)
    change(catalog)
    old, new = (parse(yaml.safe_dump(one), "mini") for one in (CATALOG, catalog))
    with pytest.raises(AssertionError, match=message):
        assert compare(old, new).refused is None, compare(old, new).refused


def test_a_refused_catalog_leaves_the_store_as_it_is(own):
    before = contents(own / "s.zarr")
    edited(own, REFUSED["volumes"][0])
    with pytest.raises(UserError, match=rf"--out .* built with another catalog: {REFUSED['volumes'][1]}"):
        build(own)
    assert contents(own / "s.zarr") == before


def test_a_pattern_that_finds_other_files_converts_those_and_no_others(own):
    (own / "bold/new/1").mkdir(parents=True)
    same, other = own / "bold/new/1/A.dtseries.nii", CATALOG["movies"][0]["volumes"]
    shutil.copy2(own / "bold/1/A.dtseries.nii", same)
    edited(own, lambda c: c.update(bold=["new/{subject}/{movie}.dtseries.nii"]))
    assert "0 converted, 3 already there" in build(own).output, "the same content under another name"
    status = same.stat()
    write_dtseries(same, noise("32k", other, 77), "32k")
    os.utime(same, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert same.stat().st_size == status.st_size
    edited(own, lambda c: c.update(bold=["new/{subject}/{movie}.dtseries.nii"], subject_pattern="[0-9]"))
    (own / "bold/new").rename(own / "bold/newer")
    edited(own, lambda c: c.update(bold=["newer/{subject}/{movie}.dtseries.nii"]))
    assert "1 converted, 2 already there" in build(own).output, "size and time are those of the old file"


def test_a_glob_that_finds_another_film_converts_it_again(own):
    write_film(own / "movies/other.mp4", seconds=25)
    edited(own, lambda c: c["movies"][1].update(video="other*.mp4"))
    assert "1 converted, 2 already there" in build(own).output
    assert opened(own).film_duration.values[1] == pytest.approx(25, abs=0.1)


def state(store, consolidated=None):
    """What readers see of all that an edited catalog changes."""
    with xr.open_zarr(store, chunks=None, consolidated=consolidated) as dataset:
        tables = {name: (dataset[name].values.tolist(), str(dataset[name].attrs)) for name in TABLES}
        return json.dumps(
            [tables, dataset.attrs, dataset.simdata_metadata.attrs["catalog"], dataset.bold.shape]
        )


class Killed(Exception):
    pass


def fail_at(monkeypatch, call_number):
    """Make the n-th change of a file by a revision the last, as a kill does."""
    calls = 0

    def counting(function):
        def wrapped(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == call_number:
                raise Killed
            return function(*arguments, **options)

        return wrapped

    monkeypatch.setattr(revision, "os", SimpleNamespace(replace=counting(os.replace)))
    for name in ("_clear", "_resize_movies", "_commit"):
        monkeypatch.setattr(revision, name, counting(getattr(revision, name)))


def test_readers_of_a_killed_revision_see_the_old_or_the_new_catalog(own, tmp_path):
    store = own / "s.zarr"
    catalog = copy.deepcopy(CATALOG)
    for change in (new_splits, new_clips, new_movie):
        change(catalog)
    new = parse(yaml.safe_dump(catalog), "new")
    metadata = {"catalog": "new", "catalog_sha256": "0"}
    small = shutil.copytree(
        store,
        tmp_path / "small",
        ignore=lambda folder, names: [
            name
            for name in names
            if name == "c" and folder.endswith(("bold", "sphere", "faces", "waveform", "frame"))
        ],
    )
    whole = shutil.copytree(small, tmp_path / "whole")
    (tmp_path / "staging").mkdir()
    revise(whole, tmp_path / "staging", new, metadata)
    old_state, new_state = state(small), state(whole)
    assert old_state != new_state
    seen, number = [], -4
    while seen[-1:] != ["whole"]:
        number += 7  # of all changes one after the other this takes minutes
        killed, staging = shutil.copytree(small, tmp_path / f"k{number}"), tmp_path / f"s{number}"
        staging.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, number)
            try:
                revise(killed, staging, new, metadata)
                seen.append("whole")
            except Killed:
                seen.append({old_state: "old", new_state: "new"}[state(killed)])
        with exclusive(killed):
            pass
        settled = {old_state: "old", new_state: "new"}[state(killed)]
        assert settled == (seen[-1] if seen[-1] != "whole" else "new")
        assert state(killed, consolidated=False) == state(killed)
        revise(killed, staging, new, metadata)
        assert state(killed) == new_state
        shutil.rmtree(killed)
    assert seen == sorted(seen, key=["old", "new", "whole"].index)
    assert {"old", "new"} <= set(seen)


def test_an_empty_store_binds_nobody(own):
    shutil.rmtree(own / "s.zarr")
    good = (own / "bold/1/A.dtseries.nii").read_bytes()
    (own / "bold/1/A.dtseries.nii").write_bytes(good[:1000])
    with pytest.raises(UserError, match=r"A\.dtseries\.nii"):
        build(own)
    assert opened(own).run_status.values.tolist() == [[0, 0]]
    (own / "bold/1/A.dtseries.nii").write_bytes(good)
    edited(own, lambda c: c["movies"][1].update(name="other", volumes=19))
    assert "3 converted, 0 already there" in build(own, "--encoding", "float16").output
    assert opened(own).movie.values.tolist() == ["A", "other"]
    assert not list(own.glob(".s.zarr*"))


def test_movies_of_one_video_are_one_film_seen_again(own):
    edited(own, lambda c: c["movies"][1].update(video="A.mp4"))
    result = build(own)
    assert result.exit_code == 0, result.output
    plain = opened(own)
    assert plain.film.values.tolist() == ["A", "A"]
    one, other = (plain.frame.sel(movie=name).values[:20] for name in "AB")
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["overlapping globs", "link", "hard link"])
def test_one_film_is_not_two_movies(own, kind):
    film = own / "movies/B.mp4"
    if kind in ("link", "hard link"):
        film.unlink()
        film.symlink_to("A.mp4") if kind == "link" else film.hardlink_to(own / "movies/A.mp4")
    else:
        edited(own, lambda c: c["movies"][1].update(video="[A]*.mp4"))
    for options in ((), ("--on-error", "skip")):
        with pytest.raises(UserError, match=r"is the film of A and of B \(video in the catalog"):
            build(own, *options)


def test_sources_of_the_same_content_are_told(own):
    shutil.copytree(own / "bold/1", own / "bold/2")
    result = build(own)
    assert "warning: 1/A, 2/A were made of files with the same content" in result.output


def test_more_clips_than_bytes_count_are_stored(tmp_path):
    from simdata.store.schema import catalog_tables

    for number, kind in ((126, "i1"), (127, "i2"), (40_000, "i4")):
        movie = {
            **CATALOG["movies"][0],
            "volumes": number,
            "segments": [{"name": f"c{i}", "start": i, "stop": i + 1} for i in range(number)],
        }
        catalog = Catalog.model_validate({**CATALOG, "movies": [movie]})
        segment = catalog_tables(catalog, ["1"])["segment"]
        assert segment.dtype == kind
        np.testing.assert_array_equal(segment.values[0], np.arange(1, number + 1))


def test_content_that_was_dropped_after_it_was_converted_is_not_missed(own):
    path = own / "bold/1/A.dtseries.nii"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/x1/2k/MD5E-s5--a/MD5E-s5--a")
    assert "0 converted, 3 already there, 0 skipped" in build(own).output


def test_what_was_not_taken_is_in_the_store_without_a_path_of_this_machine(own):
    (own / "bold/1_old").mkdir()
    (own / "bold/3").mkdir()
    link = own / "bold/2/A.dtseries.nii"
    link.parent.mkdir()
    link.symlink_to("../.git/annex/objects/x1/2k/MD5E-s5--a/MD5E-s5--a")
    (own / "movies/B.mp4").rename(own / "movies/gone.mp4")
    assert build(own, "--on-error", "skip").exit_code == 3
    (own / "movies/gone.mp4").rename(own / "movies/B.mp4")
    told = call("info", own / "s.zarr").output
    assert "1 complete, of 6 possible" in told
    for text in ("1_old", "its name is not that of a", "is an empty folder", "content not fetched", "film/B"):
        assert text in told
    metadata = json.dumps(opened(own).simdata_metadata.attrs)
    assert "2/A.dtseries.nii" in metadata
    assert str(own) not in metadata
    shutil.rmtree(own / "bold/1_old"), shutil.rmtree(own / "bold/3"), shutil.rmtree(own / "bold/2")
    build(own)
    assert "Not taken" not in call("info", own / "s.zarr").output


def test_empty_sets_and_unknown_ids_are_warned_of(own):
    def change(catalog):
        scenes = {"fractions": {"test": [0.0, 0.001]}}
        catalog["splits"] = {"subjects": {"val": ["1"], "test": ["8", "9"]}, "scenes": scenes}

    edited(own, change)
    told = build(own).output
    assert "warning: splits.subjects.test has 8, 9, which the source does not have" in told
    assert "warning: splits.subjects.test: no subject with a run in the store is in it" in told
    assert "splits.subjects.val" not in told.replace("edited (splits.subjects, splits.scenes)", "")
