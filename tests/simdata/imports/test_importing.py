"""Embeddings from files that others wrote, put on a store's clock."""

import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from film_files import write_film
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import VOLUMES, build, call, contents, opened

from simdata.common.errors import UserError
from simdata.encoders.base import valid_modality
from simdata.imports.clip_rows import ClipLayout, StoredFilm, equal_at_end
from simdata.imports.embedding_files import clip_files
from simdata.imports.importing import import_embeddings
from simdata.store.embeddings import StagedEmbeddings
from simtrain.data.dataset import open_dataset

FEATURES = 5
ROWS = {movie: seconds - 2 for movie, seconds in VOLUMES.items()}  # of windows of 3 s


@pytest.fixture
def rows():
    """Movie -> (clips, features) float32."""
    rng = np.random.default_rng(1)
    return {movie: rng.standard_normal((n, FEATURES)).astype("f4") for movie, n in ROWS.items()}


def import_files(folder, *sources, options=()):
    """As the command, for video_mine unless ``options`` say otherwise."""
    chosen = ["--name", "mine", "--modality", "video", *options]
    return call("import-embeddings", folder / "s.zarr", *sources, *chosen)


def save(folder, rows):
    """An .npy file of each movie, as MOVIE=PATH."""
    for movie, values in rows.items():
        np.save(folder / f"{movie}.npy", values)
    return [f"{movie}={folder / movie}.npy" for movie in rows]


def save_clips(folder, rows, name="clip_{}.npy"):
    folder.mkdir()
    for number, row in enumerate(rows):
        np.save(folder / name.format(number), row)
    return folder


def check_stored(folder, rows, array="video_mine", first=0, stride=1):
    store = opened(folder)
    for movie, values in rows.items():
        stored = store[array].sel(movie=movie)
        expected = np.full((len(store.second), values.shape[1]), np.nan, "f4")
        expected[first : first + stride * len(values) : stride] = values
        np.testing.assert_array_equal(stored.values, expected)


def refused(folder, sources, message, options=()):
    """The message of an error that leaves the store as it was, to the byte."""
    before = contents(folder / "s.zarr")
    with pytest.raises(UserError, match=message) as error:
        import_files(folder, *sources, options=options)
    assert contents(folder / "s.zarr") == before
    return str(error.value)


def test_rows_lie_at_their_seconds_and_nothing_else_is_touched(own, rows):
    before = contents(own / "s.zarr", without=["zarr.json"])
    output = import_files(own, *save(own, rows)).output
    assert "video_mine written" in output
    assert "B: 18 rows, [0, 3) s to [17, 20) s" in output
    check_stored(own, rows)
    assert contents(own / "s.zarr", without=["zarr.json", "video_mine"]) == before
    assert not (own / "s.zarr/.build").exists()
    array = opened(own).video_mine
    assert array.dims == ("movie", "second", "mine_feature")
    assert (array.encoder, array.modality, array.window, array.stride) == ("imported", "video", 3, 1)
    assert array.weights_sha256 == ""
    assert json.loads(array.parameters) == {"first": 0}


def test_where_the_rows_came_from_is_kept(own, rows):
    save(own, rows)
    folder = save_clips(own / "clips", rows["A"])
    import_files(own, f"A={folder}", f"B={own}/B.npy", options=["--drop-last", "B=0"])
    films = json.loads(opened(own).video_mine.films)
    digests = subprocess.run(
        ["sha256sum", *(folder / f"clip_{number}.npy" for number in range(ROWS["A"]))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    digest = subprocess.run(
        "cut -d' ' -f1 | sha256sum", shell=True, check=True, capture_output=True, text=True, input=digests
    ).stdout.split()[0]
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert films["A"]["imported"] == {
        "file": "clips",
        "files": ROWS["A"],
        "size": size,
        "sha256": digest,
        "key": "",
        "drop_last": 0,
    }
    assert films["B"]["imported"]["file"] == "B.npy"
    assert films["B"]["path"] == "B.mp4"
    assert str(own) not in str(opened(own).video_mine.attrs)


def test_training_can_use_them(own, rows):
    import_files(own, *save(own, rows))
    dataset = open_dataset(own / "s.zarr")
    assert dataset.encoders["video"] == ["mine", "motion_energy"]
    embedding = dataset.embedding("video_mine")
    assert embedding.window == 3
    np.testing.assert_array_equal(embedding.values[1, : ROWS["B"]], rows["B"])


@pytest.mark.parametrize("kind", ["npz", "h5", "hdf5"])
@pytest.mark.parametrize("key", ["{movie}", "deep/{movie}/layer"])
def test_one_file_holds_all_movies(own, rows, kind, key):
    path = own / f"all.{kind}"
    arrays = {key.format(movie=movie): values.astype("f8") for movie, values in rows.items()}
    if kind == "npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, compression="gzip")
    import_files(own, path, options=[] if key == "{movie}" else ["--key", key])
    check_stored(own, rows)


def test_a_key_chooses_one_array_of_several(own, rows):
    paths = {movie: own / f"{movie}.npz" for movie in rows}
    for movie, path in paths.items():
        np.savez(path, last=rows[movie], middle=rows[movie] + 1)
    sources = [f"{movie}={path}" for movie, path in paths.items()]
    refused(own, sources, r"A\.npz: holds 2 arrays \(last, middle\); choose one with --key KEY")
    refused(own, sources, r"A\.npz: has no array 'first' \(--key\); it has: last, middle", ["--key", "first"])
    import_files(own, *sources, options=["--key", "middle"])
    check_stored(own, {movie: values + 1 for movie, values in rows.items()})


def test_the_only_array_of_a_file_needs_no_key(own, rows):
    np.savez(own / "A.npz", rows["A"])
    with h5py.File(own / "B.h5", "w") as file:
        file["model/clips"] = rows["B"].astype("f2")
    import_files(own, f"A={own}/A.npz", f"B={own}/B.h5")
    check_stored(own, {"A": rows["A"], "B": rows["B"].astype("f2").astype("f4")})


def test_clips_of_a_folder_go_by_their_number(own, rows):
    folder = save_clips(own / "clips", rows["A"], name="A1_clip_{}.npy")
    (folder / ".DS_Store").write_bytes(b"")
    padded = own / "padded"
    padded.mkdir()
    for number, row in enumerate(rows["B"], start=1):
        with h5py.File(padded / f"{number:04d}.h5", "w") as file:
            file["x"] = row[None]
    import_files(own, f"A={folder}", f"B={padded}")
    check_stored(own, rows)


@pytest.mark.parametrize("names", ["{start}", "{row}", "from_{start}_to_{stop}"])
def test_rows_may_begin_later_and_be_rarer(own, names):
    first, stride, window = 4, 3, 5
    rows = {}
    for movie, seconds in VOLUMES.items():
        starts = range(first, seconds - window + 1, stride)
        rows[movie] = np.arange(len(starts) * 2, dtype="f4").reshape(-1, 2) + seconds
        (own / movie).mkdir()
        for row, start in enumerate(starts):
            name = names.format(row=row, start=start, stop=start + window)
            np.save(own / movie / f"{name}.npy", rows[movie][row])
    options = ["--first", 4, "--stride", 3, "--window", 5]
    output = import_files(own, f"A={own}/A", f"B={own}/B", options=options).output
    assert "B: 4 rows, [4, 9) s to [13, 18) s" in output
    check_stored(own, rows, first=first, stride=stride)


@settings(max_examples=60)
@given(
    numbers=st.permutations(range(13)),
    begin=st.sampled_from([0, 1, 7]),
    widths=st.lists(st.integers(1, 4), min_size=13, max_size=13),
    prefix=st.sampled_from(["", "clip_", "7T_MOVIE1_CC1-", "v2.x"]),
    suffix=st.sampled_from(["", "_pooled", ".3s"]),
)
def test_order_is_that_of_the_numbers(tmp_path_factory, numbers, begin, widths, prefix, suffix):
    folder = tmp_path_factory.mktemp("clips")
    expected = {}
    for number, width in zip(numbers, widths, strict=True):
        path = folder / f"{prefix}{begin + number:0{width}d}{suffix}.npy"
        path.touch()
        expected[number] = path
    assert clip_files(folder, (0, 1, 7), step=1) == [expected[number] for number in range(13)]


def test_a_folder_with_gaps_twins_or_strangers_is_refused(own, rows):
    other = save(own, rows)[1]

    def check(message, *, without=(), added=()):
        folder = save_clips(own / f"clips{len(list(own.iterdir()))}x", rows["A"])
        for number in without:
            (folder / f"clip_{number}.npy").unlink()
        for name in added:
            np.save(folder / name, rows["A"][0]) if name.endswith(".npy") else (folder / name).touch()
        refused(own, [f"A={folder}", other], message)

    check(r"clip_9\.npy is followed by clip_11\.npy; every clip", without=[10])
    check(r"clip_2\.npy is followed by clip_5\.npy \(the first of 2 gaps\)", without=[3, 4, 20])
    check(r"begins with clip_2\.npy, number 2, where 0 or 1 should be", without=[0, 1])
    check(r"clip_02\.npy and clip_2\.npy have the same number", added=["clip_02.npy"])
    check(r"clip_0\.npy and mean\.npy differ in more than a number", added=["mean.npy"])
    check(r"notes\.txt is none of \.npy, \.npz, \.h5, \.hdf5; keep nothing", added=["notes.txt"])


def test_clips_of_a_folder_must_be_alike(own, rows):
    folder = save_clips(own / "clips", rows["A"])
    other = save(own, {"B": rows["B"]})[0]
    np.save(folder / "clip_7.npy", np.zeros(9))
    refused(own, [f"A={folder}", other], r"clip_7\.npy has 9 features, clip_0\.npy has 5; all clips must")
    np.save(folder / "clip_7.npy", np.zeros((4, 5)))
    refused(own, [f"A={folder}", other], r"clip_7\.npy: has shape \(4, 5\), not \(features,\) or \(1, feat")
    empty = own / "empty"
    empty.mkdir()
    refused(own, [f"A={empty}", other], "empty: has no files")
    np.save(empty / "one.npy", np.zeros(5))
    refused(own, [f"A={empty}", other], r"one\.npy has no number; name the files clip_0, clip_1")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(18), r"has shape \(18,\), not \(clips, features\); save one row per clip"),
        (np.zeros((18, 4, 5)), r"has shape \(18, 4, 5\), not .*; reduce each clip to one vector"),
        (np.zeros((18, 0)), r"has shape \(18, 0\): it is empty"),
        (np.array(["x"] * 18)[:, None], r"holds <U1, not real numbers"),
        (np.ones((18, 5), complex), r"holds complex128, not real numbers"),
        (np.ones((18, 5), bool), r"holds bool, not real numbers"),
        (np.array([None] * 18), r"holds Python objects, which are not read since they may run code"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_what_is_no_table_of_numbers_is_refused(own, rows, values, message, kind):
    (np.save if kind == "npy" else np.savez)(own / f"B.{kind}", values)
    sources = [*save(own, {"A": rows["A"]}), f"B={own}/B.{kind}"]
    refused(own, sources, rf"B\.{kind}: {message}|B\.{kind} \(arr_0\): {message}")


def test_text_in_hdf5_is_refused(own, rows):
    with h5py.File(own / "B.h5", "w") as file:
        file["names"] = ["a", "b"]
    refused(own, [f"B={own}/B.h5"], r"B\.h5: holds object, not real numbers")


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
@pytest.mark.parametrize("harm", ["cut", "text", "empty", "another kind"])
def test_a_broken_file_is_named(own, rows, kind, harm):
    path = own / f"B.{kind}"
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros((18, 500))
    else:
        (np.save if kind == "npy" else np.savez)(path, np.zeros((18, 500)))
    content = path.read_bytes()
    harmed = {"cut": content[:-5000], "text": b"hello\n" * 9, "empty": b"", "another kind": b"\x80\x05" * 99}
    path.write_bytes(harmed[harm])
    sources = [*save(own, {"A": rows["A"]}), f"B={path}"]
    refused(own, sources, rf"B\.{kind}: (cannot be read \(.*\); is it whole|holds Python objects)")


def test_every_clip_must_have_a_row(own, rows):
    long = rows | {"B": np.vstack([rows["B"], np.ones((1, FEATURES), "f4")])}
    message = refused(own, save(own, long), r"B\.npy: has 19 rows, but the film of B lasts 20\.\d\d s")
    assert "18 clips of 3 s lie wholly inside it ([0, 3) s to [17, 20) s)" in message
    assert "If the last rows only fill the file, --drop-last B=1 drops it" in message
    short = rows | {"B": rows["B"][:-1]}
    message = refused(own, save(own, short), r"B\.npy: has 17 rows, but the film of B lasts")
    assert "--allow-missing makes them NaN" in message
    output = import_files(own, *save(own, short), options=["--allow-missing"]).output
    assert "B: 17 rows, [0, 3) s to [16, 19) s, 1 missing" in output
    check_stored(own, short)
    refused(own, save(own, long), r"B\.npy: has 19 rows", options=["--allow-missing"])


def test_a_clip_that_was_repeated_to_fill_the_file_is_refused(own, rows):
    filled = rows | {"B": np.vstack([rows["B"], rows["B"][-1:], rows["B"][-1:]])}
    message = refused(own, save(own, filled), r"B\.npy: has 20 rows")
    assert "Its last clip was repeated to fill the file: --drop-last B=2 drops them" in message
    import_files(own, *save(own, filled), options=["--drop-last", "B=2"])
    check_stored(own, rows)
    films = json.loads(opened(own).video_mine.films)
    assert [films[movie]["imported"]["drop_last"] for movie in "AB"] == [0, 2]


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_a_repeat_that_makes_the_number_right_is_refused_where_the_film_goes_on(own, rows, modality):
    options = ["--modality", modality]
    repeated = rows | {"B": np.vstack([rows["B"][:-1], rows["B"][-2:-1]])}
    message = refused(own, save(own, repeated), r"B\.npy: its last 2 rows are equal", options)
    assert "B goes on there ([16, 19) s and [17, 20) s)" in message
    assert "--drop-last B=1 drops it, and --allow-missing leaves NaN in its place" in message
    advice = ["--drop-last", "B=1", "--allow-missing"]
    import_files(own, *save(own, repeated), options=[*options, *advice])
    check_stored(own, rows | {"B": rows["B"][:-1]}, array=f"{modality}_mine")


@pytest.mark.parametrize(("modality", "array"), [("video", "frame"), ("audio", "waveform")])
def test_equal_rows_are_right_where_the_film_stands_still(own, rows, modality, array):
    stored = zarr.open_array(own / "s.zarr" / array, mode="r+")
    stored[1, 16:20] = np.repeat(stored[1, 16:17], 4, axis=0)
    repeated = rows | {"B": np.vstack([rows["B"][:-1], rows["B"][-2:-1]])}
    import_files(own, *save(own, repeated), options=["--modality", modality])
    check_stored(own, repeated, array=f"{modality}_mine")


def test_embeddings_are_of_any_modality_and_text_may_repeat(own, rows):
    silent = rows | {"B": np.vstack([rows["B"][:-1], rows["B"][-2:-1]])}
    import_files(own, *save(own, silent), options=["--modality", "text"])
    check_stored(own, silent, array="text_mine")
    assert open_dataset(own / "s.zarr").encoders["text"] == ["mine"]
    for name in ("phase", "bold", "Text", "a_b", "2d"):
        message = f"modality: .*{name!r} is no modality: give video, audio, or another word"
        refused(own, save(own, rows), message, ["--modality", name])


def test_no_array_of_the_stores_own_begins_as_a_modality_may(own):
    names = [name for name, array in opened(own).variables.items() if "modality" not in array.attrs]
    for first in {name.split("_")[0] for name in names if "_" in name}:
        with pytest.raises(ValueError, match=f"'{first}' is no modality"):
            valid_modality(first)


def test_an_array_that_is_no_embedding_is_not_replaced(own, rows):
    note = xr.Dataset({"text_mine": ("movie", [1, 2])})
    note.to_zarr(own / "s.zarr", mode="a", consolidated=True)
    refused(own, save(own, rows), "text_mine is there, and is no embedding", ["--modality", "text"])


def test_values_that_are_not_finite_are_named(own, rows):
    rows["B"] = rows["B"].astype("f8")
    rows["B"][[3, 5, 6, 7, 8, 9, 10], 2] = [np.nan, np.inf, 1e300, -np.inf, np.nan, np.nan, np.nan]
    message = refused(own, save(own, rows), "has values that are NaN, or infinite", ["--allow-missing"])
    assert "rows 3 ([3, 6) s), 5 ([5, 8) s)" in message
    assert "and 2 more; compute" in message
    rows["B"][3:11] = 0
    rows["B"][4] = np.nan
    refused(own, save(own, rows), r"B\.npy: is all NaN in row 4 \(\[4, 7\) s\); compute these clips again")
    assert "1 missing" in import_files(own, *save(own, rows), options=["--allow-missing"]).output
    check_stored(own, {movie: values.astype("f4") for movie, values in rows.items()})


def test_movies_must_fit_together(own, rows):
    a, b = save(own, rows | {"B": rows["B"][:, :3]})
    refused(own, [a, b], r"B\.npy: has 3 features, .*A\.npy has 5; import those of different encoders")
    a, _ = save(own, rows)
    refused(own, [a], "video_mine would have no rows of B: give them as MOVIE=PATH, or leave them NaN")
    refused(own, [a, a], "A is given 2 times")
    same = [f"A={own}/A.npy", f"B={own}/A.npy"]
    refused(own, same, r"A\.npy: has the same rows for B as .*A\.npy for A")
    assert "written" in import_files(own, a, options=["--allow-missing"]).output
    assert np.isnan(opened(own).video_mine.sel(movie="B")).all()
    assert set(json.loads(opened(own).video_mine.films)) == {"A"}


def test_unclear_sources_are_refused(own, rows):
    a, b = save(own, rows)
    refused(own, [a, "C=x.npy"], "C=x.npy: the store has no movie 'C'; it has: A, B")
    refused(own, [a, f"B={own}/none.npy"], r"none\.npy: there is no such file or folder")
    refused(own, [own / "none.npz"], r"none\.npz: there is no such file or folder")
    refused(own, [own / "A.npy"], r"A\.npy: does not say of which movie its rows are; write MOVIE=")
    refused(own, [save_clips(own / "A", rows["A"])], "A: does not say of which movie its clips are")
    refused(own, [a, f"B={own}/movies/B.mp4"], r"B\.mp4: is none of \.npy, \.npz, \.h5, \.hdf5 or a folder")
    np.savez(own / "all.npz", **rows, mean=np.zeros(5))
    refused(own, [own / "all.npz"], r"all\.npz: has arrays that are no movies of the store \(mean\)")
    refused(own, [own / "all.npz"], "--key A: would be the same for all movies", ["--key", "A"])
    for wrong in ("C=1", "B=x", "-1", "B=1.5"):
        refused(own, [a, b], f"--drop-last {wrong}: write a number", [f"--drop-last={wrong}"])
    refused(own, [a, b], r"A\.npy: has 38 rows; --drop-last 38 leaves none", ["--drop-last", 38])
    import_files(own, own / "all.npz", options=["--key", "{movie}"])
    check_stored(own, rows)


def test_invalid_options_are_named(own, rows):
    sources = save(own, rows)
    refused(own, sources, "name: String should match", ["--name", "My-Own"])
    refused(own, sources, "stride: Input should be greater than or equal to 1", ["--stride", 0])
    refused(own, sources, "audio_logmel belongs to `simdata build`", ["--name=logmel", "--modality=audio"])


def test_one_name_for_two_numbers_of_features_is_refused(own, rows):
    import_files(own, *save(own, rows))
    wider = {movie: np.hstack([values, values]) for movie, values in rows.items()}
    message = "audio_mine: video_mine has another number of features under this name"
    refused(own, save(own, wider), message, ["--modality", "audio"])


def test_a_second_call_does_nothing_and_another_file_replaces(own, rows):
    sources = save(own, rows)
    import_files(own, *sources)
    before = contents(own / "s.zarr")
    assert "video_mine is already there" in import_files(own, *sources).output
    assert "video_mine is already there" in import_files(own, sources[1]).output
    assert contents(own / "s.zarr") == before
    changed = rows | {"B": rows["B"] + 1}
    assert "written" in import_files(own, save(own, changed)[1]).output
    check_stored(own, changed)
    narrower = {movie: values[:, :4] for movie, values in rows.items()}
    refused(own, save(own, narrower)[1:], "video_mine would have no rows of A")
    import_files(own, *save(own, narrower))
    check_stored(own, narrower)


def test_an_interrupted_import_shows_nothing_and_is_continued(own, rows, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    before = contents(own / "s.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(StagedEmbeddings, "publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_embeddings(
                own / "s.zarr", save(own, rows), layout=ClipLayout(name="mine", modality="video")
            )
    assert contents(own / "s.zarr", without=[".build"]) == before
    import_files(own, *save(own, rows))
    check_stored(own, rows)
    assert not (own / "s.zarr/.build").exists()


def test_a_changed_film_takes_its_rows_out(own, rows):
    sources = save(own, rows)
    import_files(own, *sources)
    write_film(own / "movies/B.mp4", seconds=19)
    assert "1 converted" in build(own).output
    assert np.isnan(opened(own).video_mine.sel(movie="B")).all()
    check_stored(own, {"A": rows["A"]})
    refused(own, [sources[0]], "would have no rows of B")
    refused(own, sources, r"B\.npy: has 18 rows, but the film of B lasts 19\.\d\d s")
    shorter = rows | {"B": rows["B"][:17]}
    import_files(own, save(own, shorter)[1])
    check_stored(own, shorter)


def test_a_film_that_is_not_in_the_store_cannot_be_given_and_is_not_missed(own, rows):
    status = zarr.open_array(own / "s.zarr/film_status", mode="r+")
    status[1] = 0
    a, b = save(own, rows)
    refused(own, [a, b], "B: its film is not in the store; run `simdata build`")
    assert "written" in import_files(own, a).output


@pytest.mark.parametrize(
    ("duration", "volumes", "layout", "inside", "wanted"),
    [
        (20.0, 20, {}, 18, 18),
        (19.99, 20, {}, 18, 18),  # by less than half a picture
        (19.97, 20, {}, 17, 17),
        (20.97, 20, {}, 18, 18),
        (25.0, 20, {}, 23, 20),  # the film goes on after the run
        (20.0, 20, {"window": 1}, 20, 20),
        (20.0, 20, {"first": 2}, 16, 16),
        (20.0, 20, {"stride": 4}, 5, 5),
        (19.0, 20, {"stride": 4}, 5, 5),
        (18.0, 20, {"stride": 4}, 4, 4),
        (25.0, 20, {"stride": 4, "first": 1}, 6, 5),
        (2.0, 20, {}, 0, 0),
    ],
)
def test_how_many_clips_a_film_has(duration, volumes, layout, inside, wanted):
    film = StoredFilm("A", volumes, duration, {"frame_rate": 25.0})
    layout = ClipLayout(name="x", modality="video", **layout)
    assert (film.clips_inside(layout), film.clips_wanted(layout)) == (inside, wanted)


@pytest.mark.parametrize(("rows", "number"), [([1, 2, 3], 0), ([2, 2, 3, 3], 1), ([5, 5, 5], 2), ([1], 0)])
def test_equal_rows_at_the_end_are_counted(rows, number):
    assert equal_at_end(np.array(rows)[:, None]) == number


def test_without_h5py_the_message_says_what_to_install(own, monkeypatch, rows):
    (own / "A.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(own, [f"A={own}/A.h5"], re.escape("needs the package h5py: pip install 'simdata[encoders]'"))


def test_a_file_with_more_than_its_first_array_is_refused(own, rows):
    sources = save(own, rows)
    with (own / "A.npy").open("ab") as file:
        np.save(file, rows["A"])
    refused(own, sources, "A.npy: goes on behind its array")


def test_matlab_s_transposed_arrays_are_refused(own, rows):
    with h5py.File(own / "all.h5", "w") as file:
        for movie, values in rows.items():
            file.create_dataset(movie, data=values.T).attrs["MATLAB_class"] = np.bytes_("single")
    refused(own, [own / "all.h5"], "all.h5: was written by MATLAB")
