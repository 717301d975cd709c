"""`simdata build`: find what is missing or has changed, convert it, publish each part when it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import zarr

from simdata.catalog import Catalog
from simdata.convert import ConvertedRun, convert_run, memory_needed
from simdata.cores import available_cores
from simdata.encoders import Encoder, create_all
from simdata.encoding import ENCODINGS
from simdata.errors import StoreNotWritten, UserError
from simdata.execute import execute, workers_within
from simdata.faults import of_source, of_store
from simdata.film_info import probe
from simdata.films import (
    FILM_MEMORY,
    THUMBNAIL_HEIGHT,
    ConvertedFilm,
    check_covers_clips,
    convert_film,
    thumbnail_size,
)
from simdata.nested import leaves
from simdata.progress import Progress
from simdata.sources import Film, Found, Rejected, Run, find_film, find_runs
from simdata.store import schema
from simdata.store.axes import check_movies, check_whole_runs
from simdata.store.layout import check_chunks, read_layout
from simdata.store.lock import creating, exclusive
from simdata.store.metadata import Metadata
from simdata.store.opening import open_store
from simdata.store.provenance import Provenance
from simdata.store.writer import StoreWriter
from simdata.survey import survey


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the store's values are; kept in its metadata.

    ``encoders`` are written as `simdata.encoders.create` reads them.
    """

    catalog: Catalog
    catalog_text: str
    encoding: str = "int8"
    encoders: tuple[str, ...] = ("motion_energy", "logmel")

    def attributes(self, encoders: Sequence[Encoder]) -> dict[str, Any]:
        """What a store must agree in to be continued with this recipe."""
        return {
            "catalog_sha256": hashlib.sha256(self.catalog_text.encode()).hexdigest(),
            "recipe": {
                "mesh": "ico6",
                "resampling": "barycentric",
                "normalisation": "z-score per vertex and run",
                "encoding": self.encoding,
                "encoders": {encoder.array: encoder.identity() for encoder in encoders},
                "thumbnail_height": THUMBNAIL_HEIGHT,
            },
        }

    def description(self) -> dict[str, Any]:
        """The other metadata of a new store."""
        return {
            "catalog_name": self.catalog.name,
            "catalog": self.catalog_text,
            "stimulus_lag": self.catalog.stimulus_lag,
            "software": schema.software_versions(),
        }


@dataclass(frozen=True)
class Options:
    """How to build; none of it changes the store's values. ``max_memory`` is in bytes."""

    workers: int = 1
    max_memory: int | None = None
    on_error: Literal["stop", "skip"] = "stop"
    checksum: bool = True
    subjects: tuple[str, ...] | None = None


@dataclass
class Summary:
    """What a build did, by the keys of runs and films; ``skipped`` gives the reasons.

    Attributes
    ----------
    complete, possible : runs in the store now, and those that all subjects seen would have
    not_taken : what looks like a subject or a run in the source and is neither in the store nor skipped
    notes : what else the user should know
    """

    converted: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    complete: int = 0
    possible: int = 0
    not_taken: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def build(
    recipe: Recipe, *, source: Path, movies: Path, out: Path, options: Options, progress: Progress
) -> Summary:
    """Bring the store at ``out`` up to what is on disk; what has not changed is left alone.

    A run or film shows in the store when it is whole: a build may be killed, and continues when it is
    called again.

    Raises
    ------
    UserError
        For the first bad source unless ``options.on_error`` is "skip", or if ``out`` is something else
        than a store of this recipe, or cannot be written.
    """
    summary = Summary()
    found = find_runs(recipe.catalog, source, options.subjects)
    summary.not_taken = survey(recipe.catalog, source, found)
    runs = _usable(found, options, summary)
    films = _find_films(recipe.catalog, movies, options, summary)
    encoding = ENCODINGS[recipe.encoding]
    needed = max(memory_needed(run, encoding) for run in runs)
    workers = workers_within(options.max_memory, needed, options.workers)
    film_workers = workers_within(options.max_memory, max(FILM_MEMORY, needed), options.workers)
    encoders = create_all(recipe.encoders)
    if not out.exists():
        with of_store(out), creating(out):
            _create(recipe, encoders, out, found.with_runs, films)
    with of_store(out), exclusive(out) as staging:
        _make_ready(recipe, encoders, out, found.with_runs)
        store = _Target(StoreWriter(out), Provenance(out), options, summary, progress)
        store.writer.clear_unpublished()
        convert_films = partial(
            convert_film, store=out, staging=staging, encoders=recipe.encoders, checksum=options.checksum
        )
        convert_runs = partial(
            convert_run,
            tr=recipe.catalog.tr,
            capacity=recipe.catalog.volumes,
            encoding=encoding,
            staging=staging,
            checksum=options.checksum,
            threads=max(1, available_cores() // workers),
        )
        try:
            # Runs first, while the process is small: encoders import torch.
            store.bring_up_to_date("runs", runs, convert_runs, workers)
            store.bring_up_to_date("films", films, convert_films, film_workers)
            if summary.converted:
                store.writer.settle_cortex()
        finally:
            store.provenance.close()
        _count(summary, out, found)
    return summary


def _usable(found: Found, options: Options, summary: Summary) -> list[Run]:
    """The runs to convert; those that cannot be read are skipped, or end the build."""
    if found.unusable and (options.on_error == "stop" or not found.runs):
        others = len(found.unusable) - 1
        more = f"\n{others} more cannot be read" if others else ""
        hint = "\n--on-error skip leaves out what cannot be read" if found.runs else "\nNo run can be read"
        raise UserError(f"{found.unusable[0][1]}{more}{hint}")
    summary.skipped |= {run.key: str(error) for run, error in found.unusable}
    return found.runs


def _count(summary: Summary, out: Path, found: Found) -> None:
    status = open_store(out).run_status
    elsewhere = set(found.subjects) - set(status.subject.values.tolist())
    summary.complete = int((status == schema.COMPLETE).sum())
    summary.possible = status.size + len(elsewhere) * status.sizes["movie"]


def _find_films(catalog: Catalog, movies: Path, options: Options, summary: Summary) -> list[Film]:
    films = []
    for movie in catalog.movies:
        try:
            film = find_film(movie, movies)
            with of_source(film.path):
                check_covers_clips(film, probe(film.path))  # now: films come after hours of runs
            films.append(film)
        except UserError as error:
            if options.on_error == "stop":
                raise
            summary.skipped[f"film/{movie.name}"] = str(error)
    return films


def _create(
    recipe: Recipe, encoders: Sequence[Encoder], out: Path, subjects: Sequence[str], films: Sequence[Film]
) -> None:
    schema.create(
        out,
        catalog=recipe.catalog,
        subjects=subjects,
        encoding=ENCODINGS[recipe.encoding],
        encoders=encoders,
        thumbnail=thumbnail_size(films),
        metadata=recipe.attributes(encoders) | recipe.description(),
    )


def _make_ready(recipe: Recipe, encoders: Sequence[Encoder], out: Path, subjects: Sequence[str]) -> None:
    """Check that the store is one of this recipe, and give it room for all subjects."""
    store = open_store(out)
    _check_recipe(recipe.attributes(encoders), out, Metadata.of(store, out))
    check_whole_runs(store, out)
    check_movies(store, out, recipe.catalog)
    _check_layout(out)
    if new := [subject for subject in subjects if subject not in store.subject]:
        schema.append_subjects(out, recipe.catalog, new)


def _check_recipe(wanted: dict[str, Any], out: Path, store: Metadata) -> None:
    wanted = leaves(json.loads(json.dumps(wanted)))
    found = leaves({"catalog_sha256": store.catalog_sha256, "recipe": store.recipe})
    for key in dict.fromkeys([*wanted, *found]):
        if wanted.get(key) != found.get(key):
            raise UserError(
                f"--out {out}: was built with {key} = {found.get(key)}, not {wanted.get(key)}. "
                "Build with the same options, or to another --out"
            )


def _check_layout(out: Path) -> None:
    check_chunks(zarr.open_group(out, mode="r"), out)
    layout = read_layout(zarr.open_array(out, path="bold", mode="r"))
    if layout is None or not layout.is_as_built:
        raise UserError(
            f"--out {out}: its BOLD was laid out anew, by `simdata rechunk` or xarray, and new runs would "
            "not fit in. Build to the store that it was made from, or `simdata rechunk` this one with "
            "--layout seconds and build to that"
        )


@dataclass
class _Target:
    """The store that is being built, and how."""

    writer: StoreWriter
    provenance: Provenance
    options: Options
    summary: Summary
    progress: Progress

    def bring_up_to_date(
        self,
        what: str,
        sources: Sequence[Run | Film],
        convert: Callable[[Any], ConvertedRun | ConvertedFilm],
        workers: int,
    ) -> None:
        current = {source.key for source in sources if self._is_current(source)}
        todo = [source for source in sources if source.key not in current]
        self.summary.current += sorted(current)
        self.progress.start(what, len(sources), len(current))
        for source, outcome in execute(convert, todo, workers):
            if isinstance(outcome, UserError):
                self._skip(source, outcome)
            else:
                self._publish(source, outcome)
            self.progress.advance(what)

    def _is_current(self, source: Run | Film) -> bool:
        try:
            return self.writer.is_complete(source) and self.provenance.is_current(source.key, source.path)
        except OSError:  # a source that has gone meanwhile: converting it says so
            return False

    def _skip(self, source: Run | Film, error: UserError) -> None:
        if self.options.on_error == "stop" or isinstance(error, StoreNotWritten):
            raise error
        self.summary.skipped[source.key] = str(error)

    def _publish(self, source: Run | Film, outcome: ConvertedRun | ConvertedFilm) -> None:
        if isinstance(outcome, ConvertedRun):
            self.writer.publish_run(source, outcome)
        else:
            self.writer.publish_film(source, outcome)
        self.provenance.record(source.key, outcome.provenance)
        self.writer.set_status(source, schema.COMPLETE)
        self.summary.converted.append(source.key)
