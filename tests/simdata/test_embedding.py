"""Adding embeddings to a store that was built from real files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest
import zarr
from film_files import write_film
from store_files import VOLUMES, build, call, contents, opened

import simdata.embedding
from simdata.common.errors import UserError
from simdata.store import embeddings

SHORT = "logmel,window=2,name=short"  # other values than the build's own


def embed(folder, *encoders, options=()):
    chosen = [part for encoder in encoders for part in ("--encoder", encoder)]
    return call("embed", folder / "s.zarr", "--movies", folder / "movies", *chosen, *options)


def test_arrays_are_added_as_the_build_would_have_made_them(own):
    before = contents(own / "s.zarr", without=["zarr.json"])
    output = embed(own, SHORT, "motion_energy,stride=4,name=rare").output
    assert "audio_short written" in output
    assert "video_rare written" in output
    after = contents(own / "s.zarr", without=["zarr.json", "audio_short", "video_rare"])
    assert after == before
    store = opened(own)
    assert store.audio_short.dims == ("movie", "second", "short_feature")
    assert (store.audio_short.window, store.audio_short.modality) == (2, "audio")
    assert set(json.loads(store.audio_short.films)) == {"A", "B"}
    rows = store.audio_short.values
    assert np.isfinite(rows[0, : VOLUMES["A"] - 1]).all()
    assert np.isnan(rows[0, VOLUMES["A"] - 1 :]).all()
    np.testing.assert_array_equal(
        np.isfinite(store.video_rare.values[1]).all(axis=1), (np.arange(40) % 4 == 0) & (np.arange(40) < 18)
    )
    np.testing.assert_allclose(
        store.video_rare.values[:, ::4], store.video_motion_energy.values[:, ::4], rtol=1e-4, atol=1e-6
    )


def test_a_second_call_does_nothing(own):
    embed(own, SHORT)
    before = contents(own / "s.zarr")
    assert "audio_short is already there" in embed(own, SHORT).output
    assert contents(own / "s.zarr") == before


def test_other_settings_replace_an_array(own):
    embed(own, SHORT)
    old = opened(own).audio_short.values
    assert "written" in embed(own, "logmel,window=4,name=short").output
    new = opened(own).audio_short
    assert new.window == 4
    assert not np.array_equal(new.values, old, equal_nan=True)
    assert not (own / "s.zarr/.build").exists()


def test_what_the_build_makes_is_left_to_the_build(own):
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match="audio_logmel belongs to `simdata build`"):
        embed(own, "logmel,window=2")
    assert contents(own / "s.zarr", without=[".build"]) == before


def test_one_name_for_two_numbers_of_features_is_refused(own):
    message = "audio_short and video_short differ in their number of features"
    with pytest.raises(UserError, match=message):
        embed(own, SHORT, "motion_energy,name=short")
    embed(own, SHORT)
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match="video_short: audio_short has another number of features"):
        embed(own, "motion_energy,name=short")
    assert contents(own / "s.zarr", without=[".build"]) == before


def test_another_film_is_refused_and_a_copy_is_not(own):
    os.utime(own / "movies/B.mp4", (1, 1))
    assert "written" in embed(own, SHORT).output
    write_film(own / "movies/B.mp4", seconds=21)
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match=r"B\.mp4: is another file than the one the store was built from"):
        embed(own, "logmel,name=other")
    assert contents(own / "s.zarr") == before
    skipping = embed(own, "logmel,name=other", options=["--on-error", "skip"])
    assert skipping.exit_code == 3
    assert "skipped B" in skipping.output
    assert np.isnan(opened(own).audio_other.sel(movie="B")).all()
    assert set(json.loads(opened(own).audio_other.films)) == {"A"}


def test_a_changed_film_takes_its_old_rows_out_and_embed_makes_the_new_ones(own):
    embed(own, SHORT)
    old = opened(own).audio_short.load()
    write_film(own / "movies/B.mp4", seconds=21)
    assert "1 converted" in build(own).output
    assert np.isnan(opened(own).audio_short.sel(movie="B")).all()
    kept = own / "s.zarr/audio_short/c/0/0/0"
    embed(own, SHORT)
    new = opened(own).audio_short
    assert kept.exists()
    np.testing.assert_array_equal(new.sel(movie="A"), old.sel(movie="A"))
    assert np.isfinite(new.sel(movie="B").values[:19]).all()
    assert set(json.loads(new.films)) == {"A", "B"}


def test_a_broken_film_leaves_the_store_as_it_was(own):
    film = own / "movies/B.mp4"
    content = bytearray(film.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    film.write_bytes(content)
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match=r"B\.mp4"):
        embed(own, SHORT)
    with pytest.raises(UserError, match=r"B\.mp4"):
        build(own)
    assert contents(own / "s.zarr", without=[".build"]) == before
    assert opened(own).film_status.values.tolist() == [1, 1]


@pytest.mark.parametrize("step", range(3))
def test_a_kill_between_the_last_steps_is_settled(own, monkeypatch, step):
    """Between the moves of the old array and of the new, and before the metadata."""
    embed(own, "logmel,name=again")
    steps = iter(range(9))

    def killed(function):
        def stop(*arguments, **options):  # xarray's own calls have options
            if not options and next(steps) == step:
                raise MemoryError
            return function(*arguments, **options)

        return stop

    with monkeypatch.context() as patched:
        patched.setattr(embeddings, "os", SimpleNamespace(replace=killed(os.replace)))
        patched.setattr(zarr, "consolidate_metadata", killed(zarr.consolidate_metadata))
        with pytest.raises(MemoryError):
            embed(own, "logmel,name=again,window=4")
    for window in (4, 5):  # the same again, and another
        embed(own, f"logmel,name=again,window={window}")
        assert opened(own).audio_again.attrs["window"] == window
        assert np.isfinite(opened(own).audio_again.values).any()
    assert not (own / "s.zarr/.build").exists()


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.6])
def test_a_killed_embed_shows_nothing_and_is_continued(own, delay):
    before = contents(own / "s.zarr")
    command = ["embed", own / "s.zarr", "--movies", own / "movies", "--encoder", "motion_energy,name=again"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from simdata.cli import main; main()", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    work = own / "s.zarr/.build/embeddings/video_again/group/video_again"
    while not (work / "zarr.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (work / "c").rglob("0") if path.is_file()}
    assert contents(own / "s.zarr", without=[".build"]) == before
    assert "video_again written" in embed(own, "motion_energy,name=again").output
    for path, time_of_change in done.items():
        published = own / "s.zarr/video_again" / path.relative_to(work)
        assert published.stat().st_mtime_ns == time_of_change
    store = opened(own)
    np.testing.assert_allclose(
        store.video_again.values, store.video_motion_energy.values, rtol=1e-4, atol=1e-6
    )
    assert not (own / "s.zarr/.build").exists()


@pytest.mark.parametrize("there_before", [False, True])
def test_a_film_that_breaks_off_is_skipped_and_the_other_is_whole(own, monkeypatch, there_before):
    """Whatever raises it. The store's rows of an embedding of the same name go: others were asked for."""
    if there_before:
        embed(own, "logmel,window=3,name=short")
    embed_film = simdata.embedding.stimulus_blocks

    def break_off(path, encoders, blocks, words=None):
        blocks = list(blocks)
        yield from embed_film(path, encoders, blocks[:1])
        if path.name == "A.mp4":
            raise av.error.InvalidDataError(1094995529, "Invalid data found", "avcodec_send_packet()")
        yield from embed_film(path, encoders, blocks[1:])

    before = contents(own / "s.zarr")
    monkeypatch.setattr("simdata.embedding.stimulus_blocks", break_off)
    message = r"movies/A\.mp4: cannot be read \(InvalidDataError: .*Invalid data found"
    with pytest.raises(UserError, match=message):
        embed(own, SHORT)
    assert contents(own / "s.zarr", without=[".build"]) == before
    skipping = embed(own, SHORT, options=["--on-error", "skip"])
    assert skipping.exit_code == 3
    assert re.search(f"skipped A: .*{message}", skipping.output)
    store = opened(own)
    assert set(json.loads(store.audio_short.films)) == {"B"}
    assert np.isnan(store.audio_short.sel(movie="A")).all()
    assert np.isfinite(store.audio_short.sel(movie="B").values[: VOLUMES["B"] - 1]).all()
    assert not (own / "s.zarr/.build").exists()
    monkeypatch.undo()
    assert "audio_short written" in embed(own, SHORT).output
    assert np.isfinite(opened(own).audio_short.sel(movie="A").values[: VOLUMES["A"] - 1]).all()


def test_where_all_films_break_no_array_appears(own, monkeypatch):
    def break_off(path, encoders, blocks, words=None):
        raise ZeroDivisionError

    before = contents(own / "s.zarr")
    monkeypatch.setattr("simdata.embedding.stimulus_blocks", break_off)
    assert embed(own, SHORT, options=["--on-error", "skip"]).exit_code == 3
    assert contents(own / "s.zarr") == before
