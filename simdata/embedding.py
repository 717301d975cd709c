"""`simdata embed`: more embeddings of the films for a store that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from simdata.common.checksum import sha256
from simdata.common.errors import StoreNotWritten, UserError
from simdata.common.faults import of_source, of_store
from simdata.common.progress import Progress
from simdata.encoders import Encoder, create_all
from simdata.films.blocks import IN_WORDS, stimulus_blocks
from simdata.films.container import probe
from simdata.films.content import modalities_of
from simdata.films.film_conversion import check_covers_clips, transcript_of
from simdata.release.sources import Film, find_film
from simdata.store.axes import check_whole_runs
from simdata.store.embeddings import StagedEmbeddings
from simdata.store.lock import exclusive
from simdata.store.opening import open_store
from simdata.store.provenance import film_record


@dataclass(repr=False)
class EmbedSummary:
    """The arrays that were written and those that were already there; movies left out, with the reason."""

    written: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"EmbedSummary(written={self.written}, current={self.current}, skipped={len(self.skipped)})"


def embed(
    store: Path,
    *,
    movies: Path,
    encoders: Sequence[str],
    on_error: Literal["stop", "skip"],
    progress: Progress,
) -> EmbedSummary:
    """Add embedding arrays to a store, or replace them. Each film is decoded once for all encoders.

    An array appears, or takes the place of another of its name, when it is whole; a call that was killed is
    continued by the next. The fMRI is not touched.

    Parameters
    ----------
    movies : folder with the films the store was built from
    encoders : as `simdata.encoders.create` reads them

    Raises
    ------
    UserError
        For the first bad film unless ``on_error`` is "skip"; for encoders that cannot be made.
    """
    made, summary = create_all(encoders), EmbedSummary()
    with of_store(store), exclusive(store):
        dataset = open_store(store)
        check_whole_runs(dataset, store)
        films = _find_films(dataset, movies, on_error, summary)
        staged = {
            encoder.array: StagedEmbeddings(
                store,
                encoder.array,
                encoder.features,
                encoder.attributes(),
                _records(dataset, films, encoder, movies),
            )
            for encoder in made
        }
        todo = [(film, _missing(staged, film.movie.name)) for film in films]
        progress.start("blocks", sum(len(blocks) for _, blocks in todo), 0)
        for film, blocks in todo:
            try:
                with of_source(film.path):
                    _embed_film(film, made, staged, blocks, progress)
            except UserError as error:
                if on_error == "stop" or isinstance(error, StoreNotWritten):
                    raise
                summary.skipped[film.movie.name] = str(error)
                for part in staged.values():
                    part.leave_out(film.movie.name)
        for array, part in staged.items():
            if part.is_empty:  # no film could be embedded
                part.discard()
                continue
            (summary.current if part.is_current else summary.written).append(array)
            part.publish()
    return summary


def _records(
    dataset: xr.Dataset, films: Sequence[Film], encoder: Encoder, movies: Path
) -> dict[str, dict[str, Any] | None]:
    """Movie -> record, of the films that have what an encoder takes; a UserError if there are none."""
    usable = [film for film in films if encoder.takes in modalities_of(film)]
    if not usable:
        what = IN_WORDS[encoder.takes]
        raise UserError(f"`movies` {movies}: no film has {what}, which the encoder {encoder.name} takes")
    records = {film.movie.name: film_record(dataset, film.movie.name) for film in usable}
    if encoder.takes != "text":
        return records
    return {film.movie.name: {**(records[film.movie.name] or {}), **_said(film, movies)} for film in usable}


def _said(film: Film, movies: Path) -> dict[str, Any]:
    """What the array keeps of a film's transcript."""
    assert film.transcript is not None
    path = str(film.transcript.relative_to(movies))
    return {"transcript": {"path": path, "sha256": sha256(film.transcript)}}


def _missing(staged: dict[str, StagedEmbeddings], movie: str) -> list[tuple[int, int]]:
    """(start, stop) s of the blocks of a movie that any of the arrays lacks."""
    return sorted({bounds for part in staged.values() for bounds in part.missing(movie)})


def _embed_film(
    film: Film,
    encoders: Sequence[Encoder],
    staged: dict[str, StagedEmbeddings],
    blocks: Sequence[tuple[int, int]],
    progress: Progress,
) -> None:
    movie = film.movie.name
    unfinished = [encoder for encoder in encoders if staged[encoder.array].missing(movie)]
    said = transcript_of(film, probe(film.path)) if any(e.takes == "text" for e in unfinished) else None
    words = None if said is None else said.words
    for block in stimulus_blocks(film.path, unfinished, blocks, words=words):
        for array, rows in block.embeddings.items():
            with of_store(staged[array].store):
                staged[array].write(movie, block.start, rows)
        progress.advance("blocks")


def _find_films(dataset: xr.Dataset, movies: Path, on_error: str, summary: EmbedSummary) -> list[Film]:
    """The films of the store's movies that are at hand and are what the store was built from."""
    films = []
    known = dataset.movie.values.tolist()
    for movie in dataset.simdata.catalog.movies:
        if movie.name not in known:  # a selection of the store's movies
            continue
        try:
            film = find_film(movie, movies)
            with of_source(film.path):
                check_covers_clips(film, probe(film.path))
                _check_same(dataset, film)
        except UserError as error:
            if on_error == "stop":
                raise
            summary.skipped[movie.name] = str(error)
        else:
            films.append(film)
    if not films:
        raise UserError(f"`movies` {movies}: has no film that the store was built from")
    return films


def _check_same(dataset: xr.Dataset, film: Film) -> None:
    """Raise a UserError if a file is not the one that the store's record of the film is of."""
    record = film_record(dataset, film.movie.name)
    if record is None:
        raise UserError(f"{film.path}: is not in the store; run `simdata build` with it first")
    status = film.path.stat()
    same = status.st_size == record["size"]
    # A copy has another time of change: its content tells.
    if same and status.st_mtime_ns != record["mtime_ns"] and record["sha256"]:
        same = sha256(film.path) == record["sha256"]
    if not same:
        raise UserError(
            f"{film.path}: is another file than the one the store was built from; "
            "run `simdata build` with it first, or give the folder of that one"
        )
