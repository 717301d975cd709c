"""Stores of films with transcripts, and of stories, from the command line."""

import json
import os

import numpy as np
import pytest
import yaml
from cifti_files import noise, write_dtseries
from film_files import write_film, write_sound
from store_files import CATALOG, VOLUMES, build, call, contents, opened
from transcript_text import long_textgrid, table, whisperx

from simdata.common.errors import UserError

SAID = [(1.0, 1.5, "Once"), (1.5, 2.0, "upon"), (9.0, 9.5, "a"), (16.5, 17.0, "time")]
WORDS = "text_words"


def sources(folder, stimuli, transcripts):
    """As `store_files.write_sources`, with sound or films, and transcripts for some of them."""
    movies = [movie | {"video": stimuli[movie["name"]]} for movie in CATALOG["movies"]]
    for movie in movies:
        if movie["name"] in transcripts:
            movie["transcript"] = f"words/{movie['name']}*"
    (folder / "mini.yaml").write_text(yaml.safe_dump(CATALOG | {"movies": movies}))
    write_dtseries(folder / "bold/1/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    (folder / "movies/words").mkdir(parents=True)
    for movie, name in stimuli.items():
        write = write_film if name.endswith(".mp4") else write_sound
        write(folder / "movies" / name, seconds=VOLUMES[movie])
    for movie, (ending, text) in transcripts.items():
        (folder / f"movies/words/{movie}{ending}").write_text(text)
    return folder


def rates(folder, array=WORDS):
    return opened(folder)[array].values[..., 0]


def expected_rates(said, volumes, duration, window=3):
    """Words a second of each window, by hand."""
    found = np.full(volumes, np.nan)
    for start in range(int(duration) - window + 1):
        found[start] = sum(start <= onset < start + window for onset, *_ in said) / window
    return found


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    transcripts = {
        "A": (".TextGrid", long_textgrid({"phones": [], "words": SAID}, VOLUMES["A"])),
        "B": (".json", whisperx([*SAID[:2], (None, None, "7"), *SAID[2:]], VOLUMES["B"])),
    }
    folder = sources(tmp_path_factory.mktemp("stories"), {"A": "a.mp3", "B": "b.wav"}, transcripts)
    assert build(folder).exit_code == 0
    return folder


def test_a_story_and_its_textgrid_have_sound_and_words(stories):
    store = opened(stories)
    assert [name for name in store if "modality" in store[name].attrs] == ["audio_logmel", WORDS]
    assert store[WORDS].modality == "text"
    volumes = VOLUMES["A"]
    np.testing.assert_allclose(rates(stories)[0], expected_rates(SAID, volumes, volumes), rtol=1e-6)
    more = [*SAID, (2.0, 9.0, "7")]  # between the words that were aligned
    np.testing.assert_allclose(rates(stories)[1], expected_rates(more, volumes, VOLUMES["B"]), rtol=1e-6)
    of_a, of_b = (json.loads(text) for text in store.film_source.values)
    assert of_a["modalities"] == ["audio", "text"]
    assert (of_a["words"], of_a["untimed_words"]) == (4, 0)
    assert (of_b["words"], of_b["untimed_words"]) == (5, 1)
    assert of_a["transcript"]["path"] == "words/A.TextGrid"
    assert len(of_a["transcript"]["sha256"]) == 64


def test_a_second_build_does_nothing_and_one_with_another_transcript_does(stories, tmp_path):
    before = contents(stories / "s.zarr")
    assert "0 converted, 3 already there" in build(stories).output
    assert "0 converted" in build(stories, "--modalities", "audio,text").output
    assert contents(stories / "s.zarr") == before
    path = stories / "movies/words/A.TextGrid"
    text, status = path.read_text(), path.stat()
    path.write_text(long_textgrid({"words": SAID[:1]}, VOLUMES["A"]))
    assert "1 converted, 2 already there" in build(stories).output
    np.testing.assert_allclose(
        rates(stories)[0], expected_rates(SAID[:1], VOLUMES["A"], VOLUMES["A"]), rtol=1e-6
    )
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    build(stories)
    np.testing.assert_allclose(rates(stories)[0], expected_rates(SAID, VOLUMES["A"], VOLUMES["A"]), rtol=1e-6)


def test_films_of_which_some_have_words(tmp_path):
    folder = sources(tmp_path, {"A": "a.mp4", "B": "b.mp4"}, {"B": (".tsv", table(SAID))})
    output = build(folder).output
    assert (
        "film/A has no transcribed words, as other films have: the store has no values of it there" in output
    )
    store = opened(folder)
    assert np.isnan(store[WORDS].values[0]).all()
    assert np.isfinite(store[WORDS].values[1, : VOLUMES["B"] - 2]).all()
    assert np.isfinite(store.video_motion_energy.values[0]).any()
    call("embed", folder / "s.zarr", "--movies", folder / "movies", "--encoder", "words,window=1,name=fine")
    np.testing.assert_allclose(
        rates(folder, "text_fine")[1], expected_rates(SAID, VOLUMES["A"], VOLUMES["B"], 1), rtol=1e-6
    )
    assert set(json.loads(opened(folder).text_fine.films)) == {"B"}


def test_words_join_a_store_that_was_built_without(tmp_path):
    folder = sources(tmp_path, {"A": "a.wav", "B": "b.wav"}, {})
    build(folder)
    catalog = yaml.safe_load((folder / "mini.yaml").read_text())
    with pytest.raises(UserError, match="no film has transcribed words, which the encoder words takes"):
        call("embed", folder / "s.zarr", "--movies", folder / "movies", "--encoder", "words")
    catalog["movies"][0]["transcript"] = "words/a.tsv"
    (folder / "movies/words/a.tsv").write_text(table(SAID))
    (folder / "mini.yaml").write_text(yaml.safe_dump(catalog))
    output = build(folder).output
    assert "0 converted, 3 already there" in output
    assert "movies[0].transcript" in output
    embed = ("embed", folder / "s.zarr", "--movies", folder / "movies", "--encoder", "words")
    assert "text_words written" in call(*embed).output
    assert "text_words is already there" in call(*embed).output
    np.testing.assert_allclose(rates(folder)[0], expected_rates(SAID, 40, 40), rtol=1e-6)
    (folder / "movies/words/a.tsv").write_text(table(SAID[:2]))
    assert "text_words written" in call(*embed).output
    np.testing.assert_allclose(rates(folder)[0], expected_rates(SAID[:2], 40, 40), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table([(99.0, 99.5, "late")]), r"A\.tsv: 1 of its 1 words begin behind the end of the film"),
        ("onset\tword\n1\n", r"A\.tsv, line 2: has 1 cells"),
        (None, r"has no transcript of A \(looked for words/A\*\)"),
    ],
)
def test_a_transcript_that_is_missing_or_wrong_stops_the_build_before_it_begins(tmp_path, text, message):
    transcripts = {} if text is None else {"A": (".tsv", text)}
    folder = sources(tmp_path, {"A": "a.wav", "B": "b.wav"}, {"A": (".tsv", ""), **transcripts})
    if text is None:
        (folder / "movies/words/A.tsv").unlink()
    with pytest.raises(UserError, match=message):
        build(folder)
    assert not (folder / "s.zarr").exists()


def test_text_that_no_encoder_takes_is_refused(tmp_path):
    folder = sources(tmp_path, {"A": "a.wav", "B": "b.wav"}, {"A": (".tsv", table(SAID))})
    with pytest.raises(UserError, match="--modalities has text, which none of the --encoder takes"):
        build(folder, "--modalities", "audio,text", "--encoder", "logmel")
    build(folder, "--encoder", "logmel")
    assert WORDS not in opened(folder)
    assert "transcript" not in json.loads(opened(folder).film_source.values[0])
    assert "0 converted" in build(folder, "--encoder", "logmel").output


def test_one_transcript_is_not_of_two_films(tmp_path):
    folder = sources(tmp_path, {"A": "a.wav", "B": "b.wav"}, {"A": (".tsv", table(SAID)), "B": (".tsv", "")})
    (folder / "movies/words/B.tsv").unlink()
    (folder / "movies/words/B.tsv").symlink_to(folder / "movies/words/A.tsv")
    with pytest.raises(UserError, match=r"B\.tsv: is the transcript of A and of B"):
        build(folder)
