"""One film from its file to the store's arrays: thumbnails, waveform and embeddings, of what it has."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import zarr

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.faults import of_store
from simdata.common.film_clock import block_bounds
from simdata.encoders import Encoder, create_all
from simdata.films.blocks import stimulus_blocks
from simdata.films.container import FilmInfo, probe
from simdata.films.content import modalities_of
from simdata.release.source_records import fingerprints, source_record
from simdata.release.sources import Film
from simdata.store.arrays import array_of, values_of
from simdata.store.converted import ConvertedFilm, film_arrays
from simdata.store.lock import new_folder
from simdata.transcripts.transcript_files import Transcript, must_be_of_film, read_transcript

THUMBNAIL_HEIGHT = 72
FILM_MEMORY = 1300 * 2**20  # bytes, for 1080p and without weights: torch, and what runs left in the process


def thumbnail_size(films: Sequence[Film]) -> tuple[int, int]:
    """(y, x) of the store's thumbnails: the shape of the first picture that a film has."""
    for film in films:
        if (picture := probe(film.path).picture) is not None:
            return THUMBNAIL_HEIGHT, round(THUMBNAIL_HEIGHT * picture.width / picture.height)
    return THUMBNAIL_HEIGHT, THUMBNAIL_HEIGHT


def convert_film(
    film: Film, *, store: Path, staging: Path, encoders: Sequence[str], checksum: bool
) -> ConvertedFilm:
    """Decode a film once and write its rows of ``frame``, ``waveform`` and each embedding below ``staging``.

    What the film lacks, or the store, is left out.

    Raises
    ------
    UserError
        If the film cannot be decoded, or ends before the last clip of its run does.
    """
    taken = fingerprints(film)
    digests = {relative: sha256(path) for relative, path in film.inputs.items()} if checksum else {}
    info = probe(film.path)
    check_covers_clips(film, info)
    said = transcript_of(film, info)
    group = zarr.open_group(store, mode="r")
    movie = list(values_of(group, "movie")).index(film.movie.name)
    folder = new_folder(staging)
    with of_store(staging):
        arrays = {name: _beside(store / name, folder / name) for name in film_arrays(group)}
    thumbnail = None
    if "frame" in group:
        _, _, height, width, _ = array_of(group, "frame").shape
        thumbnail = height, width
    usable = [encoder for encoder in _encoders(tuple(encoders)) if encoder.takes in modalities_of(film)]
    words = None if said is None else said.words
    for block in stimulus_blocks(
        film.path,
        usable,
        block_bounds(film.movie.length),
        thumbnail,
        waveform="waveform" in group,
        words=words,
    ):
        for name, values in block.arrays.items():
            with of_store(staging):
                arrays[name][movie, block.start : block.stop] = values
    record: dict[str, Any] = {
        **source_record(film, taken, digests),
        "modalities": list(modalities_of(film)),
    }
    if said is not None:
        record |= {"words": len(said.words), "untimed_words": said.untimed}
    if info.picture is not None:
        record |= {"frame_rate": info.picture.rate, "colour": info.picture.colour.text}
    return ConvertedFilm(folder, list(arrays), info.duration, record)


@lru_cache(maxsize=1)
def _encoders(texts: tuple[str, ...]) -> list[Encoder]:
    """Made once in a process: their weights may be large."""
    return create_all(texts)


def _beside(array: Path, folder: Path) -> zarr.Array:
    """An empty array in ``folder`` with the metadata of another, so that its chunks can move there."""
    folder.mkdir(parents=True)
    shutil.copy(array / "zarr.json", folder)
    return zarr.open_array(folder, mode="r+")


def transcript_of(film: Film, info: FilmInfo) -> Transcript | None:
    """What is said in a film, if it has a transcript; a UserError if that is broken, or of another film."""
    if film.transcript is None:
        return None
    found = read_transcript(film.transcript)
    must_be_of_film(film.transcript, found.words, info.duration)
    return found


def check_covers_clips(film: Film, info: FilmInfo) -> None:
    """Raise a UserError if a film is too short to be the one of its run."""
    end = max((segment.stop for segment in film.movie.segments or []), default=0)
    if info.duration < end:
        raise UserError(
            f"{film.path}: lasts {info.duration:.1f} s, but the last clip of {film.movie.name} ends at "
            f"{end} s; is it cut short, or the film of another movie?"
        )
