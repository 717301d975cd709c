"""Embeddings that were computed elsewhere, as files: .npy, .npz, HDF5, and folders with a file per clip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.fetched import check_content

NUMPY, HDF5 = (".npy", ".npz"), (".h5", ".hdf5")
SUFFIXES = (*NUMPY, *HDF5)
ONLY = ""  # key of the array in a file that holds no more than one, and no name for it
LISTED = 5  # as many names stand in a message


def names_of(path: Path) -> list[str]:
    """Keys of the arrays in an .npz or HDF5 file; those in groups are ``group/array``.

    Raises
    ------
    UserError
        If the file has no keys, or cannot be read.
    """
    with _opened(path) as arrays:
        names = list(arrays)
    if names == [ONLY]:
        raise UserError(f"{path}: does not say of which movie its rows are; write MOVIE={path}")
    return names


def read_rows(path: Path, key: str | None, numbers: Sequence[int], step: int) -> np.ndarray:
    """The embeddings of one movie's clips in order, as they are stored.

    Parameters
    ----------
    path : a file with an array (clips, features), or a folder with a file per clip
    key : of the array, in files that hold several
    numbers : what the number in the name of a folder's first file may be
    step : s between clips: their numbers may count seconds

    Returns
    -------
    (clips, features) float32; values too large for it are infinite

    Raises
    ------
    UserError
        If something cannot be read, is not numbers or of another shape, or a folder's files cannot be put
        in an order without gaps.
    """
    if not path.is_dir():
        rows = _read_array(path, key)
        if rows.ndim != 2:
            raise UserError(
                f"{place_of(path, key)}: has shape {rows.shape}, not (clips, features); {_advice(rows)}"
            )
        return _as_float32(path, key, rows)
    clips = clip_files(path, numbers, step)
    vectors = [_read_clip(clip, key) for clip in clips]
    for clip, vector in zip(clips, vectors, strict=True):
        if vector.shape != vectors[0].shape:
            raise UserError(
                f"{path}: {clip.name} has {len(vector)} features, {clips[0].name} has {len(vectors[0])}; "
                "all clips must come from the same encoder"
            )
    return _as_float32(path, key, np.stack(vectors))


def listed(names: Sequence[str]) -> str:
    """The first few names, for messages."""
    # HDF5 names may be bytes.
    return ", ".join(map(str, names[:LISTED])) + (", ..." if len(names) > LISTED else "") or "none"


def place_of(path: Path, key: str | None) -> str:
    """Where an array is, for messages."""
    return f"{path} ({key})" if key else str(path)


def file_record(path: Path) -> dict[str, Any]:
    """What the store keeps of a file of embeddings: its name, size (bytes) and SHA-256.

    The SHA-256 of a folder is that of its files' digests in order, a line each.
    """
    name = path.absolute().name
    if not path.is_dir():
        return {"file": name, "size": path.stat().st_size, "sha256": sha256(path)}
    clips = _in_order(path)
    digests = "".join(f"{sha256(clip)}\n" for _, clip in clips)
    return {
        "file": name,
        "files": len(clips),
        "size": sum(clip.stat().st_size for _, clip in clips),
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }


def clip_files(folder: Path, numbers: Sequence[int], step: int) -> list[Path]:
    """The files of a folder by the number in their names: clip_2 before clip_10.

    Parameters are those of `read_rows`.

    Raises
    ------
    UserError
        If there are none, their names differ in more than a number, or a number is missing or there twice.
    """
    clips = _in_order(folder)
    first, name = clips[0][0], clips[0][1].name
    if first not in numbers:
        allowed = " or ".join(map(str, sorted(set(numbers))))
        raise UserError(
            f"{folder}: begins with {name}, number {first}, where {allowed} should be. Are files missing? "
            f"If this clip begins at second {first} of the movie, give `first` {first}"
        )
    steps = [after[0] - before[0] for before, after in pairwise(clips)]
    unit = step if steps and set(steps) == {step} else 1
    if gaps := [place for place, size in enumerate(steps) if size != unit]:
        before, after = clips[gaps[0]], clips[gaps[0] + 1]
        places = "" if len(gaps) == 1 else f" (the first of {len(gaps)} gaps)"
        raise UserError(
            f"{folder}: {before[1].name} is followed by {after[1].name}{places}; every clip from the first "
            "to the last needs its file: add those that are missing"
        )
    return [clip for _, clip in clips]


def _in_order(folder: Path) -> list[tuple[int, Path]]:
    """(number, file) of the clips in a folder, by number."""
    files = sorted(path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith("."))
    if not files:
        raise UserError(f"{folder}: has no files; it should have one of {', '.join(SUFFIXES)} for each clip")
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"{folder}: {path.name} is none of {', '.join(SUFFIXES)}; "
                "keep nothing there but a file per clip"
            )
        if _pattern(path) != _pattern(files[0]):
            raise UserError(
                f"{folder}: {files[0].name} and {path.name} differ in more than a number; "
                "give a folder with the clips of one movie and one encoder"
            )
    numbers = [tuple(map(int, re.findall("[0-9]+", path.stem))) for path in files]
    if not numbers[0]:
        raise UserError(f"{folder}: {files[0].name} has no number; name the files clip_0, clip_1, ...")
    # Other numbers may be in the names too, such as the movie's: they do not tell the clips apart.
    counting = max(zip(*numbers, strict=True), key=lambda column: len(set(column)))
    clips = sorted(zip(counting, files, strict=True))
    for before, after in pairwise(clips):
        if before[0] == after[0]:
            raise UserError(
                f"{folder}: {before[1].name} and {after[1].name} have the same number; "
                f"which is clip {after[0]}?"
            )
    return clips


def _pattern(path: Path) -> str:
    return re.sub("[0-9]+", "#", path.stem) + path.suffix


def _read_clip(path: Path, key: str | None) -> np.ndarray:
    """(features,) of a file with one clip."""
    vector = _read_array(path, key)
    if vector.ndim == 2 and len(vector) == 1:
        return vector[0]
    if vector.ndim != 1:
        raise UserError(
            f"{place_of(path, key)}: has shape {vector.shape}, not (features,) or (1, features); "
            f"{_advice(vector)}"
        )
    return vector


def _read_array(path: Path, key: str | None) -> np.ndarray:
    """An array of numbers, of any shape."""
    with _opened(path) as arrays:
        chosen = _choose(path, list(arrays), key)
        try:
            array = np.asarray(arrays[chosen])
        except Exception as error:
            raise _unreadable(path, error) from None
    if array.dtype.kind not in "iuf":
        raise UserError(
            f"{place_of(path, key)}: holds {array.dtype}, not real numbers; save the embeddings as float32"
        )
    return array


def _choose(path: Path, names: Sequence[str], key: str | None) -> str:
    if names == [ONLY]:
        return ONLY
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise UserError(f"{path}: holds {len(names)} arrays ({listed(names)}); choose one with `key` KEY")
    if key.strip("/") not in names:
        raise UserError(f"{path}: has no array {key!r} (`key`); it has: {listed(names)}")
    return key.strip("/")


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Any]]:
    """The arrays of a file by key; they are read when they are asked for."""
    try:
        check_content(path, may_be_empty=True)  # numpy says more of that
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file or folder") from None
    if path.suffix.lower() in HDF5:
        with _opened_hdf5(path) as arrays:
            yield arrays
    elif path.suffix.lower() in NUMPY:
        try:
            loaded, behind = _load(path)
        except Exception as error:
            raise _unreadable(path, error) from None
        if behind:
            raise UserError(
                f"{path}: goes on behind its array, as where several were saved to one file: save all rows "
                "as one array, or each movie's in a file of its own"
            )
        if isinstance(loaded, np.ndarray):
            yield {ONLY: loaded}
        else:
            with loaded:
                yield loaded
    else:
        raise UserError(
            f"{path}: is none of {', '.join(SUFFIXES)} or a folder with a file per clip; "
            "save the embeddings with numpy.save"
        )


def _load(path: Path) -> tuple[Any, bool]:
    """What numpy reads of a file, and whether an array ends before the file does."""
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        return loaded, False
    with path.open("rb") as file:
        np.lib.format.read_array(file, allow_pickle=False)
        return loaded, bool(file.read(1))


@contextmanager
def _opened_hdf5(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import h5py
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: reading HDF5 needs the package h5py: pip install 'simdata[encoders]'"
        ) from None
    try:
        file = h5py.File(path, "r")
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(
            lambda name, node: arrays.update({name: node}) if isinstance(node, h5py.Dataset) else None
        )
    except Exception as error:
        raise _unreadable(path, error) from None
    with file:
        if any("MATLAB_class" in array.attrs for array in arrays.values()):
            raise UserError(
                f"{path}: was written by MATLAB, whose arrays lie transposed in HDF5; load them with "
                "h5py, transpose them, and save them with numpy.save"
            )
        yield arrays


def _unreadable(path: Path, error: Exception) -> UserError:
    """numpy and h5py raise many kinds of errors for what is not a file of theirs."""
    if "allow_pickle" in str(error) or "pickled" in str(error):
        # numpy takes whatever it does not know for a pickle.
        return UserError(
            f"{path}: holds Python objects, which are not read since they may run code, or is not numpy's; "
            "save numbers: numpy.save(FILE, numpy.asarray(rows, dtype='float32'))"
        )
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return UserError(f"{path}: cannot be read ({reason}); is it whole, and of the kind its name says?")


def _as_float32(path: Path, key: str | None, rows: np.ndarray) -> np.ndarray:
    if 0 in rows.shape:
        raise UserError(f"{place_of(path, key)}: has shape {rows.shape}: it is empty; was it written whole?")
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as infinite
        return rows.astype(np.float32)


def _advice(array: np.ndarray) -> str:
    if array.ndim > 2:
        return "reduce each clip to one vector, for example by the mean over its tokens"
    return "save one row per clip"
