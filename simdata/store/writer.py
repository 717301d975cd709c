"""Putting converted runs and films in the store, in an order that never shows half of one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import zarr

from simdata.release.sources import Film, Run
from simdata.store.arrays import array_of, values_of
from simdata.store.converted import ConvertedFilm, ConvertedRun, film_arrays
from simdata.store.coverage import Coverage, as_bits, covered, settle
from simdata.store.damage import lost_runs
from simdata.store.embeddings import forget_film
from simdata.store.schema import ABSENT, COMPLETE


class StoreWriter:
    """The one writer of a store's runs and of all its statuses.

    Attributes
    ----------
    lost : "SUBJECT/MOVIE" -> the file below the store that was gone or cut short; the run is absent since
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._group = zarr.open_group(store, mode="r+")
        self._subjects = {name: i for i, name in enumerate(values_of(self._group, "subject"))}
        self._movies = {name: i for i, name in enumerate(values_of(self._group, "movie"))}
        self.lost = self._put_aside_lost()
        self._covered = covered(self._group)
        self._kinds = {bits: bits for bits in self._covered.values()}  # one of each is held

    @property
    def subjects(self) -> list[str]:
        return [str(subject) for subject in self._subjects]

    @property
    def movies(self) -> list[str]:
        return [str(movie) for movie in self._movies]

    def is_complete(self, source: Run | Film) -> bool:
        status = self._status(source)
        return bool(status[0][status[1]] == COMPLETE)

    def set_status(self, source: Run | Film, status: int) -> None:
        statuses, position = self._status(source)
        statuses[position] = status

    def publish_run(self, run: Run, converted: ConvertedRun) -> None:
        """Move a run's shards into place. The run shows as absent until its status is set.

        The cortex is settled with it, so that a build that is killed leaves the one of its runs.
        """
        self.set_status(run, ABSENT)
        subject, movie = self._position(run)
        self._covered.pop((subject, movie), None)
        for hemisphere, shard in enumerate(converted.shards):
            side = f"{hemisphere}/" if array_of(self._group, "bold").ndim == 5 else ""  # none of parcels
            target = self._shard_folder(subject, movie) / f"0/{side}0"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(shard, target)
        rows = array_of(self._group, "run")
        rows[subject, movie] = np.pad(converted.run, (0, rows.shape[2] - len(converted.run)))
        if converted.reach > values_of(self._group, "reach")[movie]:
            array_of(self._group, "reach")[movie] = converted.reach
        for name, values in (("bold_mean", converted.mean), ("bold_std", converted.std)):
            array = array_of(self._group, name)
            array[subject, movie] = values.reshape(array.shape[2:])
        bits = as_bits(converted.cortex)
        self._covered[subject, movie] = self._kinds.setdefault(bits, bits)
        self.settle_cortex()

    def publish_film(self, film: Film, converted: ConvertedFilm) -> None:
        """Move a film's arrays into place. The film shows as absent until its status is set."""
        self.set_status(film, ABSENT)
        movie = self._movies[film.movie.name]
        self._clear_film(movie)
        forget_film(self._store, film.movie.name, movie)
        for name in converted.arrays:
            chunks = f"{name}/c/{movie}"
            if (converted.folder / chunks).exists():
                (self._store / chunks).parent.mkdir(exist_ok=True)
                os.replace(converted.folder / chunks, self._store / chunks)
        array_of(self._group, "film_duration")[movie] = converted.duration

    def _clear_film(self, movie: int) -> None:
        for name in film_arrays(self._group):
            shutil.rmtree(self._store / f"{name}/c/{movie}", ignore_errors=True)

    def clear_unpublished(self) -> None:
        """Remove what a killed build had moved into place or begun without setting its status."""
        for movie in np.flatnonzero(values_of(self._group, "film_status") == ABSENT).tolist():
            self._clear_film(movie)
        for subject, movie in np.argwhere(values_of(self._group, "run_status") == ABSENT).tolist():
            shutil.rmtree(self._shard_folder(subject, movie), ignore_errors=True)
            for name in ("run", "bold_mean", "bold_std"):
                shutil.rmtree(self._store / name / f"c/{subject}/{movie}", ignore_errors=True)

    def _put_aside_lost(self) -> dict[str, str]:
        lost = {}
        for (subject, movie), file in lost_runs(self._store, self._group).items():
            array_of(self._group, "run_status")[subject, movie] = ABSENT
            lost[f"{self.subjects[subject]}/{self.movies[movie]}"] = file
        return lost

    def settle_cortex(self) -> Coverage | None:
        """Write the cortex that the runs share (`store.coverage`), if it is another; None without a run."""
        if not self._covered:
            return None
        cortex = array_of(self._group, "cortex")
        coverage = settle(self._covered, cortex.shape[-1])
        shared = coverage.cortex.reshape(cortex.shape)
        if not np.array_equal(cortex[:], shared):
            cortex[:] = shared
        return coverage

    def _status(self, source: Run | Film) -> tuple[zarr.Array, tuple[int, ...]]:
        if isinstance(source, Run):
            return array_of(self._group, "run_status"), self._position(source)
        return array_of(self._group, "film_status"), (self._movies[source.movie.name],)

    def _position(self, run: Run) -> tuple[int, int]:
        return self._subjects[run.subject], self._movies[run.movie.name]

    def _shard_folder(self, subject: int, movie: int) -> Path:
        return self._store / f"bold/c/{subject}/{movie}"
