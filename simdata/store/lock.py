"""One writer at a time; what a killed one left is settled before the next begins."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zarr
from filelock import FileLock, Timeout

from simdata.common.errors import UserError
from simdata.common.faults import of_store
from simdata.store.axes import check_variables
from simdata.store.embeddings import settle_embeddings
from simdata.store.opening import open_store
from simdata.store.provenance import WORK_FOLDER, Provenance
from simdata.store.revision import settle_tables
from simdata.store.schema import quiet_zarr, settle_subjects


@contextmanager
def exclusive(store: Path) -> Iterator[Path]:
    """Keep other writers away from a store, and settle what a killed one left half done.

    Yields a folder for half-done files.

    Raises
    ------
    UserError
        If it is no store, or a part of one without its axes, or another build is writing to it.
    """
    check_variables(open_store(store), store)
    folder = store / WORK_FOLDER
    folder.mkdir(exist_ok=True)
    with _held(folder / "lock", f"{store}: another build is writing to it; wait for that to end"):
        _settle(store)
        staging = folder / "staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if not unfinished(store):
                shutil.rmtree(folder, ignore_errors=True)  # gone, if the store was put aside


def new_folder(staging: Path) -> Path:
    """A folder of an attempt's own: the one before may have died half done, or be taken for dead and go on.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    with of_store(staging):
        staging.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=staging))


@contextmanager
def creating(store: Path) -> Iterator[None]:
    """Keep other builds from making a store of the same name.

    Raises
    ------
    UserError
        If one is at it.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    lock = store.with_name(f".{store.name}.lock")
    with _held(lock, f"{store}: another build is creating it; wait for that to end"):
        try:
            yield
        finally:
            lock.unlink()


def unfinished(store: Path) -> bool:
    """Whether there is something for the next writer to settle or go on with."""
    folder = store / WORK_FOLDER
    return folder.exists() and any(child.name != "lock" for child in folder.iterdir())


def _settle(store: Path) -> None:
    with quiet_zarr():
        if zarr.open_group(store, mode="r").metadata.consolidated_metadata is None:
            zarr.consolidate_metadata(store)  # by which a writer goes; who writes without them drops them
    settle_tables(store)
    settle_subjects(store)
    settle_embeddings(store)
    Provenance(store).close()


@contextmanager
def _held(path: Path, otherwise: str) -> Iterator[None]:
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(otherwise) from None
    try:
        yield
    finally:
        lock.release()
