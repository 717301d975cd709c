"""Rows of embeddings from elsewhere: where they lie on a film's clock, and whether they can be from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import AfterValidator, Field

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders.base import END_OF_FILM, Settings, valid_modality
from simdata.imports.embedding_files import LISTED, file_record, place_of, read_rows
from simdata.store.provenance import film_record
from simdata.store.schema import COMPLETE

STORED = {"video": "frame", "audio": "waveform"}  # what the store has of the film itself


class ClipLayout(Settings):
    """What the files hold: row i describes the clip [first + i * stride, + window) s of the movie."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    modality: Annotated[str, AfterValidator(valid_modality)]
    window: Annotated[int, Field(ge=1)] = 3
    first: Annotated[int, Field(ge=0)] = 0

    @property
    def array(self) -> str:
        """Name of the store's array."""
        return f"{self.modality}_{self.name}"

    def starts(self, rows: int) -> np.ndarray:
        """(rows,) int: the second at which each row's clip begins."""
        return self.first + self.stride * np.arange(rows)

    def clip(self, row: int) -> str:
        """A row's clip in words, such as "[4, 7) s"."""
        start = self.first + row * self.stride
        return f"[{start}, {start + self.window}) s"

    def attributes(self) -> dict[str, Any]:
        """Attributes of the array in the store."""
        text = f"imported {self.modality} embedding of the {self.window} s that begin with this second"
        return {
            "long_name": text,
            "encoder": "imported",
            "modality": self.modality,
            "window": self.window,
            "stride": self.stride,
            "weights_sha256": "",
            "parameters": {"first": self.first},
            "end_of_film": END_OF_FILM,
        }


@dataclass(frozen=True)
class StoredFilm:
    """What the store knows of a film: seconds of its run, its length in s, and the record of its source."""

    movie: str
    volumes: int
    duration: float
    record: dict[str, Any]

    @classmethod
    def of(cls, dataset: xr.Dataset, movie: str) -> StoredFilm:
        """Look up a movie; a UserError if its film is not in the store."""
        of_movie = dataset.sel(movie=movie)
        record = film_record(dataset, movie)
        if record is None or int(of_movie.film_status) != COMPLETE:
            raise UserError(f"{movie}: its film is not in the store; run `simdata build` with it first")
        return cls(movie, int(of_movie.volumes), float(of_movie.film_duration), record)

    def clips_inside(self, layout: ClipLayout) -> int:
        """How many clips lie wholly inside the film."""
        # Half a picture is a container's rounding of its length, and where it has sound alone, a sample.
        rate = self.record.get("frame_rate")
        seconds = int(self.duration + (0.5 / rate if rate else 1 / AUDIO_RATE))
        return max((seconds - layout.window - layout.first) // layout.stride + 1, 0)

    def clips_wanted(self, layout: ClipLayout) -> int:
        """How many of them begin within the run: the others have no place in the store."""
        return min(self.clips_inside(layout), len(range(layout.first, self.volumes, layout.stride)))


@dataclass(frozen=True)
class RowSource:
    """Where the rows of a movie are, and how many are to be dropped from their end."""

    path: Path
    key: str | None
    drop_last: int

    def __str__(self) -> str:
        return place_of(self.path, self.key)

    def read(self, layout: ClipLayout) -> np.ndarray:
        """(clips, features) float32 of a file or folder, less those that are dropped."""
        rows = read_rows(self.path, self.key, numbers=(0, 1, layout.first), step=layout.stride)
        if self.drop_last >= len(rows):
            raise UserError(f"{self}: has {count(len(rows))}; `drop_last` {self.drop_last} leaves none")
        return rows[: len(rows) - self.drop_last]

    def record(self) -> dict[str, Any]:
        """What the store keeps of where the rows came from."""
        return file_record(self.path) | {"key": self.key or "", "drop_last": self.drop_last}


def check_one_encoder(given: Mapping[str, RowSource], rows: Mapping[str, np.ndarray]) -> None:
    """Raise a UserError if two movies' rows cannot be from one encoder, or are the very same."""
    first, *others = given
    for movie in others:
        if rows[movie].shape[1] != rows[first].shape[1]:
            raise UserError(
                f"{given[movie]}: has {rows[movie].shape[1]} features, {given[first]} has "
                f"{rows[first].shape[1]}; import those of different encoders under different `name`"
            )
    for place, movie in enumerate(others, start=1):
        for earlier in list(given)[:place]:
            if np.array_equal(rows[movie], rows[earlier], equal_nan=True):
                raise UserError(
                    f"{given[movie]}: has the same rows for {movie} as {given[earlier]} for {earlier}; "
                    "give each movie its own"
                )


def check_values(source: RowSource, rows: np.ndarray, layout: ClipLayout, allow_missing: bool) -> None:
    """Raise a UserError for rows that are not finite; with ``allow_missing`` they may be wholly NaN."""
    missing = np.isnan(rows).all(axis=1)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1) & ~missing)
    if len(broken):
        raise UserError(
            f"{source}: has values that are NaN, or infinite in float32, in {_name_rows(broken, layout)}; "
            "compute these clips again"
        )
    if missing.any() and not allow_missing:
        raise UserError(
            f"{source}: is all NaN in {_name_rows(np.flatnonzero(missing), layout)}; compute these clips "
            "again, or leave them NaN with `allow_missing`"
        )


def check_count(
    film: StoredFilm, source: RowSource, rows: np.ndarray, layout: ClipLayout, allow_missing: bool
) -> None:
    """Raise a UserError unless each clip of a film has a row; the last may lack it with ``allow_missing``."""
    inside, wanted = film.clips_inside(layout), film.clips_wanted(layout)
    if (allow_missing or len(rows) >= wanted) and len(rows) <= inside:
        return
    found = count(len(rows)) + (f" after `drop_last` {source.drop_last}" if source.drop_last else "")
    clips = f"{layout.clip(0)} to {layout.clip(inside - 1)}" if inside else "none"
    problem = (
        f"{source}: has {found}, but the film of {film.movie} lasts {film.duration:.2f} s, and {inside} "
        f"clips of {layout.window} s lie wholly inside it ({clips})"
    )
    question = "Is it of this film, and do `window`, `first` and `stride` say what its rows are?"
    if len(rows) < wanted:
        raise UserError(f"{problem}. {question} If the last are lacking, `allow_missing` makes them NaN")
    excess = len(rows) - inside
    drop = _drop(film, source, excess)
    if equal_at_end(rows) >= excess:
        raise UserError(f"{problem}. Its last clip was repeated to fill the file: {drop}")
    raise UserError(f"{problem}. {question} If the last rows only fill the file, {drop}")


def check_last(
    dataset: xr.Dataset, film: StoredFilm, source: RowSource, rows: np.ndarray, layout: ClipLayout
) -> None:
    """Raise a UserError if the last row is there twice, as in published files, while the film goes on.

    Of other modalities than video and audio, equal rows may be right: text has them while nobody speaks.
    """
    repeats = equal_at_end(rows)
    if not repeats or STORED.get(layout.modality) not in dataset:
        return
    start, after = layout.starts(len(rows))[-2:].tolist()
    if not _stands_still(dataset, film, layout.modality, start, after + layout.window):
        raise UserError(
            f"{source}: its last {repeats + 1} rows are equal, but {film.movie} goes on there "
            f"({layout.clip(len(rows) - 2)} and {layout.clip(len(rows) - 1)}): the last clip was repeated to "
            f"fill the file. {_drop(film, source, repeats)}, and `allow_missing` leaves NaN in its place"
        )


def equal_at_end(rows: np.ndarray) -> int:
    """How many rows at the end equal the one before them."""
    differ = np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1))
    return len(rows) - 1 - (int(differ[-1]) + 1 if len(differ) else 0)


def _stands_still(dataset: xr.Dataset, film: StoredFilm, modality: str, start: int, stop: int) -> bool:
    """Whether all seconds of [start, stop) of the film are alike, so that equal rows are right there."""
    if stop > film.volumes:
        return False
    stored = dataset[STORED[modality]].sel(movie=film.movie)
    seconds = stored[start:stop].values
    return bool((seconds == seconds[:1]).all())


def _drop(film: StoredFilm, source: RowSource, number: int) -> str:
    what = "it" if number == 1 else "them"
    return f"`drop_last` {film.movie}={source.drop_last + number} drops {what}"


def _name_rows(rows: np.ndarray, layout: ClipLayout) -> str:
    named = [f"{row} ({layout.clip(row)})" for row in rows[:LISTED].tolist()]
    more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(named)}{more}"


def count(rows: int) -> str:
    """Such as "2 rows"."""
    return f"{rows} row{'' if rows == 1 else 's'}"
