"""Making a store of another one: in a folder beside it, which a call that was killed is continued from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError
from simdata.store.lock import exclusive, unfinished
from simdata.store.provenance import WORK_FOLDER


def check_place(store: Path, out: Path) -> None:
    """Raise a UserError if ``out`` exists, or lies in the store that it is to be made of."""
    if os.path.lexists(out):
        raise UserError(f"{out}: exists already; remove it, or write to another place")
    if store.resolve() in out.resolve().parents:
        raise UserError(f"{out}: is within {store}, the store itself; write to another place")


def unchanging(store: Path) -> AbstractContextManager:
    """Keeps builds away, where a build could write.

    Raises
    ------
    UserError
        If one was interrupted that only others can settle.
    """
    if os.access(store, os.W_OK):
        return exclusive(store)
    if unfinished(store):
        raise UserError(
            f"{store}: a build of it was interrupted; let one end who may write to it: `simdata build`"
        )
    return nullcontext()


def work_folder(store: Path, out: Path, doing: str, wanted: Mapping[str, Any]) -> Path:
    """A folder beside ``out`` with a folder ``store``: as a killed call of the same kind left it, or empty.

    Parameters
    ----------
    doing : part of its name
    wanted : what decides the result beside the store, as JSON
    """
    work = out.with_name(f".{out.name}.{doing}")
    note = work / "wanted.json"
    statuses = [path.read_bytes() for path in sorted((store / "run_status").rglob("*")) if path.is_file()]
    source = hashlib.sha256(b"".join([(store / "zarr.json").read_bytes(), *statuses])).hexdigest()
    text = json.dumps({"source": source, **wanted})
    if not note.is_file() or note.read_text() != text:
        shutil.rmtree(work, ignore_errors=True)
        (work / "store").mkdir(parents=True)
        note.write_text(text)
    return work


def copy_all_but(store: Path, copy: Path, names: Collection[str]) -> None:
    """Copy a store byte for byte, without the arrays of these names."""
    for path in store.iterdir():
        if path.is_file():
            shutil.copyfile(path, copy / path.name)
        elif path.name not in (*names, WORK_FOLDER):
            shutil.copytree(path, copy / path.name, dirs_exist_ok=True)
