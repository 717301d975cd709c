"""What `simdata info` prints: a store at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from rich.console import Console
from rich.table import Table

from simdata.build_report import rejected_table
from simdata.release.splits import NO_SPLIT, SPLITS
from simdata.store.axes import check_variables, is_of_parcels
from simdata.store.coverage import covered, settle
from simdata.store.damage import check_runs
from simdata.store.not_taken import NotTaken
from simdata.store.opening import open_store
from simdata.store.provenance import records
from simdata.store.run_codes import run_codes
from simdata.store.schema import COMPLETE

FINDINGS = {
    "constant_vertices": "source vertices never vary, and have no data",
    "nan_vertices": "source vertices have NaN or infinity, and no data",
}
USUAL = ["video", "audio"]
MUCH_CLIPPED = 0.001
MUCH_LACKING = 0.1  # of a movie


def print_info(path: Path, console: Console) -> None:
    """Print the contents of the store at ``path``: summary, runs by movie, and variables."""
    store = open_store(path)
    check_variables(store, path)
    check_runs(path)
    console.print(_summary(path, store))
    console.print(_movies(path, store))
    if findings := _findings(path, store):
        console.print(_findings_table(findings))
    console.print(_variables(path, store))
    if (not_taken := NotTaken.of(store, path)).number:
        console.print(rejected_table(not_taken.listed, len(not_taken.listed)))
        if more := not_taken.number - len(not_taken.listed):
            console.print(f"and {more:,} more, with the same reasons for the most part")


def _findings(path: Path, store: xr.Dataset) -> dict[str, list[str]]:
    """What was found in each run that is not as it is in others."""
    found: dict[str, list[str]] = {}
    runs = {key: record for key, record in records(store, path).items() if "density" in record}
    for key, record in runs.items():
        for name, words in FINDINGS.items():
            if number := record.get(name, 0):
                found.setdefault(key, []).append(f"{number:,} {words}")
        if (clipped := record.get("clipped", 0)) > MUCH_CLIPPED:
            found.setdefault(key, []).append(f"{clipped:.2%} of its values clipped")
    for key, words in _of_rows(path, store):
        found.setdefault(key, []).append(words)
    group = zarr.open_group(path, mode="r")
    if inside := covered(group):
        coverage = settle(inside, store.sizes[store.cortex.dims[-1]])
        subjects, movies = (store[axis].values.tolist() for axis in ("subject", "movie"))
        sides = store.hemisphere.values.tolist() if "hemisphere" in store.coords else ()
        for key, words in coverage.in_words(subjects, movies, sides).items():
            found.setdefault(key, []).append(words)
    return found


def _of_rows(path: Path, store: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Runs of several scans, with scrubbed rows, or that lack much of the movie."""
    codes, lengths = run_codes(store, path), store.volumes.values
    subjects, movies = store.subject.values, store.movie.values
    for subject, movie in np.argwhere((codes != 0).any(axis=2)).tolist():
        key, of_run = f"{subjects[subject]}/{movies[movie]}", codes[subject, movie, : lengths[movie]]
        if (scans := np.abs(of_run).max()) > 1:
            yield key, f"is of {scans} scans"
        if scrubbed := np.count_nonzero(of_run < 0):
            yield key, f"{scrubbed:,} s are scrubbed"
        if (lacking := np.count_nonzero(of_run == 0)) > MUCH_LACKING * len(of_run):
            yield key, f"has no BOLD of {lacking:,} s of {len(of_run):,}"


def _findings_table(findings: dict[str, list[str]]) -> Table:
    table = Table(title="Runs with findings", title_justify="left")
    table.add_column("run")
    table.add_column("what", overflow="fold")
    for key, words in sorted(findings.items()):
        table.add_row(key, "; ".join(words))
    return table


def _summary(path: Path, store: xr.Dataset) -> Table:
    metadata = store.simdata.metadata
    table = Table(title=str(path), show_header=False, title_justify="left", box=None)
    splits = Counter(store.subject_split.values.tolist())
    by_split = ", ".join(f"{splits[split]} {split}" for split in (*SPLITS, NO_SPLIT) if splits[split])
    status = store.run_status.values
    possible = status.size + NotTaken.of(store, path).subjects * store.sizes["movie"]
    sources = records(store, path).values()
    table.add_row("catalog", f"{metadata.catalog_name} (sha256 {metadata.catalog_sha256[:12]})")
    if metadata.splits:
        table.add_row("splits", f"{metadata.splits.get('name')} (by simdata resplit, not the catalog's)")
    table.add_row("subjects", f"{store.sizes['subject']} ({by_split})")
    table.add_row("runs", f"{np.count_nonzero(status == COMPLETE)} complete, of {possible} possible")
    table.add_row(*_places(store))
    table.add_row("encoding", f"{metadata.recipe['encoding']}, {metadata.recipe['normalisation']}")
    table.add_row("stimulus lag", f"{metadata.stimulus_lag} s (applied by training, not here)")
    table.add_row("sources", f"{len(sources)} files, {_size(sum(s['size'] for s in sources))}")
    table.add_row("on disk", _size(sum(file.stat().st_size for file in path.rglob("*") if file.is_file())))
    return table


def _places(store: xr.Dataset) -> tuple[str, str]:
    """What of the brain a store has."""
    if not is_of_parcels(store):
        least = int(store.cortex.sum("vertex").min())
        return "mesh", f"ico6, {least:,} or more cortical vertices a hemisphere"
    sides = Counter(store.parcel_hemisphere.values.tolist())
    by_side = ", ".join(f"{count:,} {side or 'of no hemisphere'}" for side, count in sorted(sides.items()))
    atlas = ", ".join(store.simdata.metadata.recipe.get("parcels", {}).get("files", []))
    return "parcels", f"{store.sizes['parcel']:,} ({by_side})" + (f" of {atlas}" if atlas else "")


def _movies(path: Path, store: xr.Dataset) -> Table:
    sources = records(store, path)
    table = Table(title="Movies", title_justify="left")
    for column in ("movie", "seconds", "film", "runs", "clips (train / val / test seconds)"):
        table.add_column(column, justify="right" if column in ("seconds", "film", "runs") else "left")
    names = store.simdata.flag_names("segment")
    split_codes = {name: code for code, name in store.simdata.flag_names("scene_split").items()}
    for movie in store.movie.values:
        of_movie = store.sel(movie=movie)
        segments = [names[code] for code in dict.fromkeys(of_movie.segment.values.tolist()) if code]
        split = of_movie.scene_split.values
        seconds = " / ".join(str(np.count_nonzero(split == split_codes[s])) for s in ("train", "val", "test"))
        duration = float(of_movie.film_duration)
        table.add_row(
            str(movie),
            str(int(of_movie.volumes)),
            "absent" if np.isnan(duration) else f"{duration:.1f} s{_what_of(sources, str(movie))}",
            str(int((of_movie.run_status == COMPLETE).sum())),
            f"{', '.join(segments)} ({seconds})",
        )
    return table


def _what_of(sources: dict[str, Any], movie: str) -> str:
    """What a film has, where that is not pictures and sound as in most."""
    modalities = sources.get(f"film/{movie}", {}).get("modalities", USUAL)
    return "" if modalities == USUAL else f" ({', '.join(modalities)})"


def _variables(path: Path, store: xr.Dataset) -> Table:
    table = Table(title="Variables", title_justify="left")
    for column in ("name", "dimensions", "stored as", "what"):
        table.add_column(column)
    for name, variable in store.data_vars.items():
        shape = ", ".join(f"{dim} {size}" for dim, size in variable.sizes.items())
        stored = variable.encoding.get("dtype", variable.dtype)
        table.add_row(str(name), shape, str(stored), variable.attrs.get("long_name", ""))
    return table


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
