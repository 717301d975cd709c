"""Stores of stories, of silent clips, and of films of both kinds, from the command line."""

import json

import numpy as np
import pytest
import xarray as xr
import yaml
from cifti_files import noise, write_dtseries
from film_files import write_film, write_sound
from store_files import CATALOG, VOLUMES, build, call, contents, opened

import simdata
from simdata.common.errors import UserError

AUDIO, VIDEO = "audio_logmel", "video_motion_energy"


def sources(folder, **stimuli):
    """As `store_files.write_sources`, with other stimuli: movie -> file name, silent where it says so."""
    movies = [movie | {"video": stimuli[movie["name"]]} for movie in CATALOG["movies"]]
    (folder / "mini.yaml").write_text(yaml.safe_dump(CATALOG | {"movies": movies}))
    write_dtseries(folder / "bold/1/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    (folder / "movies").mkdir()
    for movie, name in stimuli.items():
        path, seconds = folder / "movies" / name, VOLUMES[movie]
        if path.suffix == ".mp4":
            write_film(path, seconds=seconds, sound_rate=None if "silent" in name else 48_000)
        else:
            write_sound(path, seconds=seconds)
    return folder


def has_rows(array):
    return np.isfinite(array.values).all(axis=-1).any(axis=-1).tolist()


def film_records(folder):
    return [json.loads(text) for text in opened(folder).film_source.values]


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = sources(tmp_path_factory.mktemp("stories"), A="a.wav", B="b.flac")
    assert build(folder).exit_code == 0
    return folder


def test_stories_have_sound_and_nothing_of_pictures(stories):
    store = opened(stories)
    assert "frame" not in store
    assert [name for name in store if "modality" in store[name].attrs] == [AUDIO]
    assert has_rows(store[AUDIO]) == [True, True]
    assert store.film_status.values.tolist() == [1, 1]
    np.testing.assert_allclose(store.film_duration, list(VOLUMES.values()), atol=1e-3)
    assert np.abs(store.waveform.values.astype(int)).max() > 10_000
    assert [record["modalities"] for record in film_records(stories)] == [["audio"], ["audio"]]
    assert "frame_rate" not in film_records(stories)[0]


def test_a_second_build_finds_nothing_to_do(stories):
    before = contents(stories / "s.zarr")
    assert "0 converted, 3 already there" in build(stories).output
    assert "0 converted, 3 already there" in build(stories, "--modalities", "audio").output
    assert contents(stories / "s.zarr") == before


def test_what_the_stories_lack_cannot_be_asked_of_them(stories, tmp_path):
    with pytest.raises(UserError, match=r"--modalities video,audio: the store was built with audio"):
        build(stories, "--modalities", "video,audio")
    with pytest.raises(UserError, match=r"encoder motion_energy takes pictures, of which there is none"):
        build(stories, "--encoder", "motion_energy")
    (tmp_path / "new").symlink_to(stories)
    catalog, places = stories / "mini.yaml", {"source": stories / "bold", "movies": stories / "movies"}
    with pytest.raises(UserError, match=r"`modalities` video: no film has pictures"):
        simdata.build(catalog, **places, out=tmp_path / "s.zarr", modalities=["video"])
    with pytest.raises(UserError, match=r"`modalities` is 'smell': choose one of video, audio"):
        simdata.build(catalog, **places, out=tmp_path / "s.zarr", modalities="smell")
    with pytest.raises(UserError, match=r"no film has pictures, which the encoder mine takes"):
        call(
            "embed",
            stories / "s.zarr",
            "--movies",
            stories / "movies",
            "--encoder",
            "motion_energy,name=mine",
        )


def test_embeddings_of_stories_are_made_and_imported(stories, tmp_path):
    shelf = tmp_path / "own"
    simdata.rechunk(stories / "s.zarr", shelf, layout="seconds")
    call("embed", shelf, "--movies", stories / "movies", "--encoder", "logmel,name=short,window=2")
    with xr.open_zarr(shelf, chunks=None) as store:
        assert np.isfinite(store.audio_short.values[1, : VOLUMES["B"] - 1]).all()
    rows = np.random.default_rng(0).normal(size=(VOLUMES["B"] - 2, 4)).astype("f4")
    np.save(tmp_path / "b.npy", rows)
    for modality in ("text", "video"):
        options = ["--name", f"mine_{modality}", "--modality", modality, "--allow-missing"]
        call("import-embeddings", shelf, f"B={tmp_path / 'b.npy'}", *options)
        with xr.open_zarr(shelf, chunks=None) as store:
            np.testing.assert_array_equal(store[f"{modality}_mine_{modality}"].values[1, : len(rows)], rows)


def test_info_says_what_films_are(stories):
    assert "40.0 s (audio)" in call("info", stories / "s.zarr").output


def test_silent_clips_have_pictures_alone(tmp_path):
    folder = sources(tmp_path, A="silent_a.mp4", B="silent_b.mp4")
    build(folder)
    store = opened(folder)
    assert "waveform" not in store
    assert has_rows(store[VIDEO]) == [True, True]
    assert AUDIO not in store


def test_a_store_of_both_kinds_has_no_values_where_a_film_lacks_them(tmp_path):
    folder = sources(tmp_path, A="a.mp4", B="b.wav")
    output = build(folder).output
    assert "film/B has no pictures, as other films have: the store has no values of it there" in output
    store = opened(folder)
    assert (has_rows(store[VIDEO]), has_rows(store[AUDIO])) == ([True, False], [True, True])
    assert not store.frame.values[1].any()
    assert store.film_status.values.tolist() == [1, 1]
    assert [record["modalities"] for record in film_records(folder)] == [["video", "audio"], ["audio"]]
    call("embed", folder / "s.zarr", "--movies", folder / "movies", "--encoder", "motion_energy,name=again")
    again = opened(folder).video_again
    assert has_rows(again) == [True, False]
    assert set(json.loads(again.films)) == {"A"}
    before = contents(folder / "s.zarr")
    assert (
        "already there"
        in call(
            "embed", folder / "s.zarr", "--movies", folder / "movies", "--encoder", "motion_energy,name=again"
        ).output
    )
    assert contents(folder / "s.zarr") == before


def test_the_sound_of_films_alone(tmp_path):
    folder = sources(tmp_path, A="a.mp4", B="b.mp4")
    build(folder, "--modalities", "audio")
    store = opened(folder)
    assert "frame" not in store
    assert VIDEO not in store
    assert has_rows(store[AUDIO]) == [True, True]
    assert "0 converted" in build(folder).output  # the store says what it takes


def test_an_empty_store_of_another_content_is_made_anew(tmp_path):
    folder = sources(tmp_path, A="a.wav", B="b.wav")
    for movie in "ab":
        (folder / f"movies/{movie}.wav").rename(folder / f"{movie}.wav")
    (folder / "bold/1/A.dtseries.nii").rename(folder / "A.dtseries.nii")
    (folder / "bold/1/A.dtseries.nii").write_bytes(b"nothing" * 100)
    write_dtseries(folder / "bold/2/A.dtseries.nii", noise("32k", 5), "32k")
    build(folder, "--on-error", "skip")
    for movie in "ab":
        (folder / f"{movie}.wav").rename(folder / f"movies/{movie}.wav")
    (folder / "A.dtseries.nii").replace(folder / "bold/1/A.dtseries.nii")
    build(folder, "--on-error", "skip")
    assert "frame" not in opened(folder)
