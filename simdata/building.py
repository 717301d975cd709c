"""`simdata build`: find what is missing or has changed, convert it, publish each part when it is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr
import zarr

from simdata.bold.formats import endings
from simdata.bold.run_conversion import convert_run, memory_needed
from simdata.build_parcels import parcels_of, variables_of
from simdata.build_recipe import BuildSummary, Options, Recipe
from simdata.common.cores import available_cores
from simdata.common.errors import StoreNotWritten, UserError
from simdata.common.faults import of_source, of_store
from simdata.common.fetched import NotFetched
from simdata.common.nested import leaves
from simdata.common.progress import Progress
from simdata.common.workers import execute, workers_within
from simdata.film_lengths import with_lengths
from simdata.films.container import probe
from simdata.films.content import Content
from simdata.films.film_conversion import (
    FILM_MEMORY,
    check_covers_clips,
    convert_film,
    thumbnail_size,
    transcript_of,
)
from simdata.release.catalog import Catalog
from simdata.release.catalog_changes import Changes, compare
from simdata.release.found_runs import find_runs
from simdata.release.sources import Film, Found, Rejected, Run, find_film, refuse_one_film_twice
from simdata.release.splits import Splits
from simdata.release.survey import survey
from simdata.store import schema
from simdata.store.axes import check_movies, check_whole_runs
from simdata.store.converted import ConvertedFilm, ConvertedRun, stored_modalities
from simdata.store.encoding import ENCODINGS
from simdata.store.layout import check_chunks, read_layout
from simdata.store.lock import creating, exclusive
from simdata.store.metadata import Metadata
from simdata.store.not_taken import put_not_taken
from simdata.store.notes import absent_notes, complete_runs, empty_notes, gone_note, repeated_notes
from simdata.store.opening import open_store
from simdata.store.provenance import Provenance, records
from simdata.store.revision import revise
from simdata.store.splitting import own_splits
from simdata.store.upgrading import upgrade
from simdata.store.writer import StoreWriter

LOOKED_AT = 8  # runs, for the memory that all need
Source = TypeVar("Source", Run, Film)
Converted = TypeVar("Converted", ConvertedRun, ConvertedFilm)


def build(
    recipe: Recipe, *, source: Path, movies: Path, out: Path, options: Options, progress: Progress
) -> BuildSummary:
    """Bring the store at ``out`` up to what is on disk; what has not changed is left alone.

    A run or film shows in the store when it is whole: a build may be killed, and continues when it is
    called again.

    Raises
    ------
    UserError
        For the first bad source unless ``options.on_error`` is "skip", or if ``out`` is something else
        than a store of this recipe, or cannot be written.
    """
    summary = BuildSummary()
    there = _is_there(out)
    recipe = replace(recipe, catalog=with_lengths(recipe.catalog, movies, out if there else None))
    found = find_runs(recipe.catalog, source, options.subjects, endings())
    summary.not_taken = survey(recipe.catalog, source, found, endings())
    recipe = replace(recipe, parcels=parcels_of(recipe.catalog, found, out if there else None))
    if there:
        _keep_converted(found, out, summary)
    runs = _usable(found, options, summary)
    films = _find_films(recipe.catalog, movies, options, summary)
    encoding = ENCODINGS[recipe.encoding]
    needed = max(
        (memory_needed(run, encoding, recipe.catalog.tr, recipe.catalog.mesh) for run in _large(runs)),
        default=0,
    )
    workers = workers_within(options.max_memory, needed, options.workers)
    film_workers = workers_within(options.max_memory, max(FILM_MEMORY, needed), options.workers)
    content = Content.of(films, recipe.modalities, recipe.encoders, _modalities_in(out) if there else None)
    summary.warnings += content.differing(films)
    films = content.used(films)
    if there:
        _discard_if_empty(recipe, content, out)
    if not _is_there(out):
        with of_store(out), creating(out):
            _create(recipe, content, out, found.with_runs, films)
    with of_store(out), exclusive(out) as staging:
        splits = _make_ready(recipe, content, out, staging, found.with_runs, summary)
        store = _Target(StoreWriter(out), Provenance(out), options, summary, progress)
        store.writer.clear_unpublished()
        summary.warnings += [
            f"{key} was not whole in the store any more ({file})" for key, file in store.writer.lost.items()
        ]
        convert_films = partial(
            convert_film, store=out, staging=staging, encoders=content.texts, checksum=options.checksum
        )
        convert_runs = partial(
            convert_run,
            tr=recipe.catalog.tr,
            capacity=recipe.catalog.seconds,
            encoding=encoding,
            clean=recipe.catalog.clean,
            parcels=() if recipe.parcels is None else recipe.parcels.names,
            staging=staging,
            checksum=options.checksum,
            threads=max(1, available_cores() // workers),
            mesh=recipe.catalog.mesh,
            spheres=recipe.spheres,
        )
        try:
            # Runs first, while the process is small: encoders import torch.
            store.bring_up_to_date("runs", runs, convert_runs, store.writer.publish_run, workers)
            store.bring_up_to_date("films", films, convert_films, store.writer.publish_film, film_workers)
            store.tell_coverage()
        finally:
            store.provenance.close()
        _describe(summary, splits, out, found, options, (source, movies))
    return summary


def _is_there(out: Path) -> bool:
    """Whether there is a store to continue. A folder without anything in it is none yet.

    Raises
    ------
    UserError
        If there is something else.
    """
    if (out / "zarr.json").exists():
        return True
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(
            f"`out` {out}: is there and is not a simdata store (it has no zarr.json); give another place, or "
            "remove it"
        )
    return False


def _keep_converted(found: Found, out: Path, summary: BuildSummary) -> None:
    """Runs whose content was dropped after they were converted, as DataLad's users do, stay as they are."""
    if not any(isinstance(error, NotFetched) for _, error in found.unusable):
        return
    store = open_store(out)
    known = records(store, out)
    complete = complete_runs(store)
    for run, error in list(found.unusable):
        same = known.get(run.key, {}).get("path") == run.relative
        if isinstance(error, NotFetched) and same and run.key in complete:
            found.unusable.remove((run, error))
            found.kept.append(run)
            summary.current.append(run.key)


def _usable(found: Found, options: Options, summary: BuildSummary) -> list[Run]:
    """The runs to convert; those that cannot be read are skipped, or end the build."""
    usable = found.runs or found.kept
    if found.unusable and (options.on_error == "stop" or not usable):
        others = len(found.unusable) - 1
        more = f"\n{others} more cannot be read" if others else ""
        hint = "\n`on_error` skip leaves out what cannot be read" if usable else "\nNo run can be read"
        raise UserError(f"{found.unusable[0][1]}{more}{hint}")
    summary.skipped |= {run.key: str(error) for run, error in found.unusable}
    return found.runs


def _large(runs: Sequence[Run]) -> list[Run]:
    """The runs that may need most memory: to open the headers of all would take minutes in a release."""
    by_file = nlargest(LOOKED_AT, runs, key=lambda run: max(map(_size, run.inputs.values())))
    by_length = nlargest(1, runs, key=lambda run: run.movie.length)
    return by_file + by_length


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _describe(
    summary: BuildSummary,
    splits: Splits,
    out: Path,
    found: Found,
    options: Options,
    folders: Sequence[Path],
) -> None:
    """Count what there is, and note what the user should know; the store keeps what was not taken."""
    store = open_store(out)
    elsewhere = set(found.subjects) - set(store.subject.values.tolist())
    summary.complete = len(complete_runs(store))
    summary.possible = store.run_status.size + len(elsewhere) * store.sizes["movie"]
    all_seen = found.subjects if options.subjects is None else None
    if all_seen is not None:
        known = [*all_seen, *store.subject.values.tolist()]
        summary.warnings += absent_notes(splits, known, "the source")
    summary.warnings += empty_notes(splits, store)
    summary.warnings += repeated_notes(records(store, out))
    if all_seen is not None:
        summary.warnings += gone_note(store, [run.key for run in found.all], "the source")
        places = {run.key: run for run in found.all}
        skipped = [
            _rejected(places.get(key), key, reason, folders) for key, reason in summary.skipped.items()
        ]
        put_not_taken(out, [*skipped, *summary.not_taken], len(elsewhere))


def _rejected(run: Run | None, key: str, reason: str, folders: Sequence[Path]) -> Rejected:
    """A source that was skipped, without a path of this machine."""
    if run is not None:
        key, reason = run.relative, reason.removeprefix(f"{run.path}: ")
    for folder in folders:
        reason = reason.replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    return Rejected(key, reason)


def _find_films(catalog: Catalog, movies: Path, options: Options, summary: BuildSummary) -> list[Film]:
    films = []
    for movie in catalog.movies:
        try:
            film = find_film(movie, movies)
            with of_source(film.path):
                info = probe(film.path)  # now: films come after hours of runs
                check_covers_clips(film, info)
                transcript_of(film, info)
            films.append(film)
        except UserError as error:
            if options.on_error == "stop":
                raise
            summary.skipped[f"film/{movie.name}"] = str(error)
    refuse_one_film_twice(films)
    return films


def _create(
    recipe: Recipe, content: Content, out: Path, subjects: Sequence[str], films: Sequence[Film]
) -> None:
    schema.create(
        out,
        catalog=recipe.catalog,
        subjects=subjects,
        encoding=ENCODINGS[recipe.encoding],
        parcels=variables_of(recipe, len(subjects)),
        encoders=content.encoders,
        thumbnail=thumbnail_size(films) if "video" in content.modalities else None,
        waveform="audio" in content.modalities,
        metadata=recipe.attributes(content.encoders)
        | recipe.catalog_metadata()
        | {"software": schema.software_versions()},
    )


def _modalities_in(out: Path) -> tuple[str, ...] | None:
    """What the store takes of its films; None if it is without a single run or film, and binds nobody."""
    with of_store(out), exclusive(out):
        store = open_store(out)
        return None if _is_empty(store) else stored_modalities(zarr.open_group(out, mode="r"))


def _is_empty(store: xr.Dataset) -> bool:
    return not complete_runs(store) and not (store.film_status.values == schema.COMPLETE).any()


def _discard_if_empty(recipe: Recipe, content: Content, out: Path) -> None:
    """Put away a store without a single run or film, if it was begun otherwise: it binds nobody."""
    with of_store(out), exclusive(out):
        store = open_store(out)
        metadata = Metadata.of(store, out)
        wanted = json.loads(json.dumps(recipe.attributes(content.encoders)))["recipe"]
        began = (metadata.catalog_sha256, metadata.recipe, stored_modalities(zarr.open_group(out, mode="r")))
        if _is_empty(store) and began != (recipe.catalog_sha256, wanted, content.modalities):
            aside = out.with_name(f".{out.name}.empty")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(out, aside)
            shutil.rmtree(aside)


def _make_ready(
    recipe: Recipe,
    content: Content,
    out: Path,
    staging: Path,
    subjects: Sequence[str],
    summary: BuildSummary,
) -> Splits:
    """Check that the store is one of this recipe; bring it in line with the catalog; make room.

    Returns
    -------
    The splits by which the store is divided.
    """
    if upgrade(out, staging):
        summary.notes.append("the store has `run` and `reach` now, as format 2.1 asks for")
    store = open_store(out)
    metadata, before = Metadata.of(store, out), store.simdata.catalog
    _check_recipe(recipe.attributes(content.encoders), out, metadata)
    check_whole_runs(store, out)
    check_movies(store, out, before)
    _check_layout(out)
    edited = metadata.catalog_sha256 != recipe.catalog_sha256
    changes = compare(before, recipe.catalog) if edited else Changes()
    if changes.refused:
        raise UserError(f"`out` {out}: was built with another catalog: {changes.refused}")
    catalog = recipe.catalog if changes.of_splits else _divided_as(store, out, recipe.catalog)
    if edited:
        revise(
            out, staging, catalog, recipe.catalog_metadata() | ({"splits": {}} if changes.of_splits else {})
        )
        summary.notes.append(f"the catalog was edited ({changes.told}); the store follows it now")
        if changes.of_splits and metadata.splits:
            summary.notes.append("the splits of `simdata resplit` are no more: the catalog has new ones")
        store = open_store(out)
    if new := [subject for subject in subjects if subject not in store.subject]:
        schema.append_subjects(out, catalog, new)
    return catalog.splits


def _divided_as(store: xr.Dataset, out: Path, catalog: Catalog) -> Catalog:
    """The catalog with the splits that `simdata resplit` gave a store, if it did."""
    if not Metadata.of(store, out).splits:
        return catalog
    return catalog.with_splits(own_splits(store, out), f"the splits of {out} by `simdata resplit`")


def _check_recipe(wanted: dict[str, Any], out: Path, store: Metadata) -> None:
    wanted = leaves(json.loads(json.dumps(wanted)))
    found = leaves({"recipe": store.recipe})
    for key in dict.fromkeys([*wanted, *found]):
        if wanted.get(key) != found.get(key):
            raise UserError(
                f"`out` {out}: was built with {key} = {found.get(key)}, not {wanted.get(key)}. "
                "Build with the same options, or to another `out`"
            )


def _check_layout(out: Path) -> None:
    check_chunks(zarr.open_group(out, mode="r"), out)
    layout = read_layout(zarr.open_array(out, path="bold", mode="r"))
    if layout is None or not layout.is_as_built:
        raise UserError(
            f"`out` {out}: its BOLD was laid out anew, by `simdata rechunk` or xarray, and new runs would "
            "not fit in. Build to the store that it was made from, or `simdata rechunk` this one with "
            "--layout seconds and build to that"
        )


@dataclass
class _Target:
    """The store that is being built, and how."""

    writer: StoreWriter
    provenance: Provenance
    options: Options
    summary: BuildSummary
    progress: Progress

    def bring_up_to_date(
        self,
        what: str,
        sources: Sequence[Source],
        convert: Callable[[Source], Converted],
        publish: Callable[[Source, Converted], None],
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
                publish(source, outcome)
                self._complete(source, outcome)
            self.progress.advance(what)

    def tell_coverage(self) -> None:
        """Settle the cortex, also that of a build that was killed, and note which runs it does not fit."""
        if coverage := self.writer.settle_cortex():
            words = coverage.in_words(self.writer.subjects, self.writer.movies)
            self.summary.notes += [f"{key} {said}" for key, said in words.items()]
            self.summary.warnings += coverage.small()

    def _is_current(self, source: Run | Film) -> bool:
        try:
            return self.writer.is_complete(source) and self.provenance.is_current(source)
        except OSError:  # a source that has gone meanwhile: converting it says so
            return False

    def _skip(self, source: Run | Film, error: UserError) -> None:
        if self.options.on_error == "stop" or isinstance(error, StoreNotWritten):
            raise error
        self.summary.skipped[source.key] = str(error)

    def _complete(self, source: Run | Film, outcome: ConvertedRun | ConvertedFilm) -> None:
        self.provenance.record(source.key, outcome.provenance)
        self.writer.set_status(source, schema.COMPLETE)
        self.summary.converted.append(source.key)
