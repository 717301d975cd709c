"""What the store contains: variables, coordinates, attributes and chunks.

Everything is made through xarray, so that ``xr.open_zarr`` gives decoded values and labels to a reader
who has never heard of simdata.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from simdata.common.attributes import flat
from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE, BLOCK
from simdata.release.catalog import Catalog
from simdata.release.scene_sets import scene_sets
from simdata.release.splits import NO_SPLIT, SCENES
from simdata.store.arrays import array_of, dimensions_of
from simdata.store.encoding import Encoding
from simdata.store.metadata import COMMENT, VARIABLE, as_variable
from simdata.surface.meshes import HEMISPHERES, icosphere
from simdata.surface.resampling import ORDER

ABSENT, COMPLETE = 0, 1
STATUS_FLAGS = {"flag_values": [ABSENT, COMPLETE], "flag_meanings": "absent complete"}
STATUSES = ("run_status", "run_source", "film_status", "film_duration", "film_source", "reach")
BY_CATALOG = (
    "movie",
    "film",
    "TR",
    "session",
    "phase_encoding",
    "volumes",
    "segment",
    "scene_split",
    "subject_split",
)
OF_MESH = ("hemisphere", "xyz")  # coordinates
OF_FILMS = ("frame", "waveform")  # absent films are zeros there: `film_status` tells
TABLES = (*BY_CATALOG, *STATUSES)  # small arrays that an edited catalog may change
SUBJECTS = 2**14  # in a chunk of small arrays: one chunk goes into any selection, a part of many into none
SOFTWARE = ("simdata", "zarr", "xarray", "nibabel", "numpy", "scipy", "av", "torch", "torchaudio")


class Embedded(Protocol):
    """What the schema has to know of an encoder: its array's name, length of a row, and attributes."""

    features: int

    @property
    def array(self) -> str: ...

    def attributes(self) -> dict[str, Any]: ...


def create(
    path: Path,
    *,
    catalog: Catalog,
    subjects: Sequence[str],
    encoding: Encoding,
    encoders: Sequence[Embedded],
    thumbnail: tuple[int, int] | None,
    waveform: bool = True,
    metadata: dict[str, Any],
    parcels: Mapping[str, xr.Variable] | None = None,
) -> None:
    """Write a store without data: every run absent, ready to be filled. Appears whole or not at all.

    Parameters
    ----------
    thumbnail : (y, x) of ``frame``; None in a store of films without pictures
    waveform : whether there is sound
    metadata : what `simdata.store.metadata` keeps
    parcels : variables of a store of parcels (`store.parcel_arrays`), in place of those of one of vertices
    """
    coords = subject_coords(catalog, subjects) | _film_coords(catalog)
    arrays, surface = _run_arrays(catalog, subjects, encoding), _surface_arrays()
    if parcels is not None:
        arrays, surface = {"run": arrays["run"], **parcels}, {}
        coords = {name: variable for name, variable in coords.items() if name not in OF_MESH}
    dataset = xr.Dataset(arrays, coords, root_attributes(catalog))
    dataset[VARIABLE] = as_variable(**metadata)
    dataset = dataset.assign(status_tables(len(subjects), len(catalog.movies))).set_coords("reach")
    dataset = dataset.assign(_film_arrays(catalog, encoders, thumbnail, waveform)).assign(surface)
    temporary = path.with_name(f".{path.name}.creating")
    shutil.rmtree(temporary, ignore_errors=True)
    with quiet_zarr():
        dataset.to_zarr(temporary, compute=False, zarr_format=3, consolidated=True)
    os.replace(temporary, path)


def root_attributes(catalog: Catalog) -> dict[str, str]:
    """For people: nothing here is read again, since xarray drops it when variables are added to a store."""
    return {
        "Conventions": "CF-1.11",
        "title": catalog.title,
        "references": catalog.reference,
        "comment": COMMENT,
    }


def append_subjects(path: Path, catalog: Catalog, subjects: Sequence[str]) -> None:
    """Grow the subject axis by subjects that came after the store was made.

    Readers go by the consolidated metadata, which are written last: they see all of it, or nothing. In a
    user's own variables by subject the new ones have no value.

    Raises
    ------
    UserError
        If such a variable has no way to say so.
    """
    with quiet_zarr():
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        before = array_of(group, "subject").shape[0]
        for name in subject_coords(catalog, subjects):
            _check_takes_text(path, name, array_of(group, name))
        missing = {name: missing_value(name, array, "subject") for name, array in _by_subject(group)}
        _resize_subjects(group, before + len(subjects))
        for name, array in _by_subject(group):
            put_missing(array, "subject", before, missing[name])
        for name, variable in subject_coords(catalog, subjects).items():
            array_of(group, name)[before:] = variable.values
        array_of(group, "run_status")[before:] = ABSENT
        zarr.consolidate_metadata(path)


def _check_takes_text(path: Path, name: str, array: zarr.Array) -> None:
    if array.dtype.kind not in "TO":
        raise UserError(
            f"{path}: its {name} is {array.dtype}, as other software wrote it, and no subject can join. "
            f"Write it as text of any length: dataset.assign_coords({name}=dataset.{name}.astype(object))"
        )


def settle_subjects(path: Path) -> None:
    """Undo what a killed `append_subjects` had begun."""
    count = array_of(zarr.open_group(path, mode="r"), "subject").shape[0]
    with quiet_zarr():
        _resize_subjects(zarr.open_group(path, mode="r+", use_consolidated=False), count)


def _resize_subjects(group: zarr.Group, count: int) -> None:
    """Give every array room for so many subjects: a user's own too, or xarray opens the store no more."""
    for _, array in _by_subject(group):
        sizes = zip(dimensions_of(array), array.shape, strict=True)
        shape = tuple(count if name == "subject" else size for name, size in sizes)
        if shape != array.shape:
            array.resize(shape)


def _by_subject(group: zarr.Group) -> Iterator[tuple[str, zarr.Array]]:
    return ((name, array) for name, array in group.arrays() if "subject" in dimensions_of(array))


def put_missing(array: zarr.Array, axis: str, first: int, missing: Any) -> None:
    """Write a value to all positions from ``first`` on along an axis that has grown."""
    if not np.array_equal(array.fill_value, missing, equal_nan=array.dtype.kind == "f"):
        new = [slice(first, None) if dim == axis else slice(None) for dim in dimensions_of(array)]
        array[tuple(new)] = missing


def missing_value(name: str, array: zarr.Array, axis: str) -> Any:
    """The stored value that reads as missing, for what joins along an axis.

    Raises
    ------
    UserError
        If the array has no way to say so.
    """
    if name in ("run_status", "run"):
        return ABSENT
    if array.dtype.kind in "fc":
        return array.dtype.type("nan")
    if array.dtype.kind not in "iub":  # text
        return array.fill_value
    if "_FillValue" not in array.attrs:
        raise UserError(
            f"{name}: has whole numbers by {axis} and no value for what joins now; write it as float, "
            f"or with encoding={{{name!r}: {{'_FillValue': -1}}}}"
        )
    return array.dtype.type(array.attrs["_FillValue"])


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """No warnings of two things that are meant.

    They are consolidated metadata, which is an extension of Zarr v3 that our readers know, and the work
    folder of a build beside the arrays.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        warnings.filterwarnings("ignore", message=r"Object at \.build is not recognized")
        yield


def software_versions() -> dict[str, str]:
    """Versions of what the values in the store depend on."""
    return {name: version(name) for name in SOFTWARE}


def subject_coords(catalog: Catalog, subjects: Sequence[str]) -> dict[str, xr.Variable]:
    splits = [catalog.splits.subjects.of(subject) or NO_SPLIT for subject in subjects]
    text = "set of this subject: train, val, test or none"
    coords = {
        "subject": strings("subject", subjects),
        "subject_split": strings("subject", splits, long_name=text),
    }
    for variable in coords.values():
        variable.encoding["chunks"] = (SUBJECTS,)
    return coords


def _film_coords(catalog: Catalog) -> dict[str, xr.Variable]:
    movies = catalog.movies
    return {
        "movie": strings("movie", [movie.name for movie in movies]),
        "film": film_variable(catalog.films_of_movies),
        "second": xr.Variable("second", np.arange(catalog.seconds), {"long_name": "second of the film"}),
        "hemisphere": strings("hemisphere", HEMISPHERES),
        "xyz": strings("xyz", ("x", "y", "z")),
        "TR": xr.Variable(
            "movie",
            np.full(len(movies), np.nan if catalog.tr is None else catalog.tr),
            {"units": "s", "long_name": "repetition time"},
        ),
        "session": xr.Variable(
            "movie", np.array([-1 if movie.session is None else movie.session for movie in movies])
        ),
        "phase_encoding": strings("movie", [movie.phase_encoding for movie in movies]),
        "volumes": xr.Variable(
            "movie",
            np.array([movie.length for movie in movies]),
            {"long_name": "length of the movie's axis, s"},
        ),
    }


def catalog_tables(catalog: Catalog, subjects: Sequence[str]) -> dict[str, xr.Variable]:
    """The small arrays that a catalog decides, but for the seconds."""
    tables = subject_coords(catalog, subjects) | _film_coords(catalog) | _scenes(catalog)
    return {name: tables[name] for name in BY_CATALOG}


def status_tables(subjects: int, movies: int) -> dict[str, xr.Variable]:
    """The small arrays that say what is in the store, of an empty one."""
    run = ("subject", "movie")
    return {
        "run_status": xr.Variable(
            run,
            np.full((subjects, movies), ABSENT, np.int8),
            {"long_name": "whether the run is in the store", **STATUS_FLAGS},
            {"chunks": (SUBJECTS, movies)},
        ),
        "run_source": _records(run, (subjects, movies), "file that the run was made of"),
        "film_status": xr.Variable(
            "movie",
            np.full(movies, ABSENT, np.int8),
            {"long_name": "whether the film's arrays are complete", **STATUS_FLAGS},
        ),
        "film_duration": xr.Variable(
            "movie", np.full(movies, np.nan), {"long_name": "length of the film", "units": "s"}
        ),
        "film_source": _records(("movie",), (movies,), "file that the film's arrays were made of"),
        "reach": reach_variable(movies),
    }


def film_variable(names: Sequence[str]) -> xr.Variable:
    """The coordinate ``film``."""
    return strings("movie", names, long_name="the first movie that is the same film")


def reach_variable(movies: int) -> xr.Variable:
    """The coordinate ``reach`` of an empty store."""
    text = "rows of one scan that are less apart share volumes, 0 if none do"
    return xr.Variable("movie", np.zeros(movies, np.int64), {"long_name": text, "units": "s"})


def run_variable(subjects: int, movies: int, seconds: int) -> xr.Variable:
    """The variable ``run`` of an empty store."""
    text = "scan of the cell that the row is of, from 1; 0: no row; -k: a scrubbed row of scan k"
    shape = (subjects, movies, seconds)
    block = (1, 1, seconds)
    return empty(("subject", "movie", "second"), shape, np.dtype("i2"), block, {"long_name": text}, fill=None)


def _scenes(catalog: Catalog) -> dict[str, xr.Variable]:
    return {
        "segment": _flags(_segments(catalog), catalog.segment_names, "clip shown in this second"),
        "scene_split": scene_flags(scene_sets(catalog)),
    }


def _run_arrays(catalog: Catalog, subjects: Sequence[str], encoding: Encoding) -> dict[str, xr.Variable]:
    subject, movie, vertices = len(subjects), len(catalog.movies), 10 * 4**ORDER + 2
    seconds, hemisphere = catalog.seconds, len(HEMISPHERES)
    run = ("subject", "movie")
    bold_chunk, bold_shard = (1, 1, 1, 1, vertices), (1, 1, seconds, 1, vertices)
    bold = empty(
        (*run, "second", "hemisphere", "vertex"),
        (subject, movie, seconds, hemisphere, vertices),
        encoding.dtype,
        bold_shard,
        {
            "long_name": "BOLD signal, z-scored per vertex over its run",
            "units": "1",
            "comment": "times bold_std plus bold_mean gives scanner units",
            **encoding.attributes(),
        },
        # Uncompressed: noise saves 8-16 % and costs most of the speed. The checksum is for verifying.
        {"chunks": bold_chunk, "shards": bold_shard, "compressors": (Crc32cCodec(),)},
        fill=encoding.fill,
    )
    arrays = {"bold": bold, "run": run_variable(subject, movie, seconds)}
    for name, text in (("bold_mean", "mean"), ("bold_std", "standard deviation (ddof 0)")):
        arrays[name] = empty(
            (*run, "hemisphere", "vertex"),
            (subject, movie, hemisphere, vertices),
            np.dtype("f4"),
            (1, 1, hemisphere, vertices),
            {"long_name": f"{text} of the BOLD signal over the run", "units": "scanner units"},
        )
    return arrays


def _film_arrays(
    catalog: Catalog, encoders: Sequence[Embedded], thumbnail: tuple[int, int] | None, waveform: bool
) -> dict[str, xr.Variable]:
    films, seconds = len(catalog.movies), catalog.seconds
    axes, arrays = ("movie", "second"), {}
    if thumbnail is not None:
        arrays["frame"] = empty(
            (*axes, "y", "x", "channel"),
            (films, seconds, *thumbnail, 3),
            np.dtype("u1"),
            (1, BLOCK, *thumbnail, 3),
            {"long_name": "thumbnail of the picture on screen when the second begins (RGB)"},
            fill=None,
        )
    if waveform:
        arrays["waveform"] = empty(
            (*axes, "sample"),
            (films, seconds, AUDIO_RATE),
            np.dtype("i2"),
            (1, BLOCK, AUDIO_RATE),
            {"long_name": "sound, mono; 32768 is full scale", "sampling_rate": AUDIO_RATE},
            fill=None,
        )
    arrays |= _scenes(catalog)
    for encoder in encoders:
        arrays[encoder.array] = embedding_array(
            encoder.array, encoder.features, films, seconds, encoder.attributes()
        )
    return arrays


def embedding_array(
    name: str, features: int, films: int, seconds: int, attributes: dict[str, Any]
) -> xr.Variable:
    """(movie, second, <name>_feature) float32, NaN where the window runs past the end of the film.

    ``name`` is that of the array, such as ``video_clip``.
    """
    return empty(
        ("movie", "second", feature_dimension(name)),
        (films, seconds, features),
        np.dtype("f4"),
        (1, BLOCK, features),
        flat(attributes),
    )


def feature_dimension(array: str) -> str:
    """Last dimension of an embedding array, such as ``clip_feature`` of ``video_clip``."""
    return f"{array.split('_', 1)[1]}_feature"


def _surface_arrays() -> dict[str, xr.Variable]:
    vertices, faces = icosphere(ORDER)
    mirrored = np.stack([vertices, vertices * [-1, 1, 1]])
    arrays = {
        "cortex": xr.Variable(
            ("hemisphere", "vertex"),
            np.zeros(mirrored.shape[:2], bool),
            {"long_name": "vertex has data in all runs of the store but partial ones (outside: medial wall)"},
        ),
        "sphere": xr.Variable(
            ("hemisphere", "vertex", "xyz"),
            mirrored.astype("f4"),
            {"units": "mm", "long_name": "ico6 sphere; vertex i of R is the mirror of vertex i of L"},
        ),
        "faces": xr.Variable(
            ("face", "corner"),
            faces,
            {"long_name": "triangles; outward on L, swap two corners for outward normals on R"},
        ),
    }
    for variable in arrays.values():
        variable.encoding["chunks"] = variable.shape
    return arrays


def _segments(catalog: Catalog) -> np.ndarray:
    codes = {name: code for code, name in enumerate(catalog.segment_names)}
    kinds = (np.int8, np.int16, np.int32)
    integers = next(kind for kind in kinds if len(codes) - 1 <= np.iinfo(kind).max)
    table = np.zeros((len(catalog.movies), catalog.seconds), integers)
    for row, movie in zip(table, catalog.movies, strict=True):
        for segment in movie.clips:
            row[segment.start : segment.stop] = codes[segment.name]
    return table


def scene_flags(sets: np.ndarray) -> xr.Variable:
    """The variable ``scene_split`` of (movies, seconds) codes."""
    return _flags(sets, SCENES, "set of the scene in this second; guard: in none, to keep sets apart")


def _flags(table: np.ndarray, meanings: Sequence[str], long_name: str) -> xr.Variable:
    attrs = {
        "long_name": long_name,
        "flag_values": list(range(len(meanings))),
        "flag_meanings": " ".join(meanings),
    }
    return xr.Variable(("movie", "second"), table, attrs)


def _records(dims: tuple[str, ...], shape: tuple[int, ...], what: str) -> xr.Variable:
    """A variable of JSON texts, empty at first. Not metadata: those of thousands of runs take megabytes."""
    attrs = {"long_name": f"{what}, as JSON: its path, size, time of change and hash; empty if there is none"}
    return xr.Variable(
        dims,
        np.full(shape, "", object),
        attrs,
        {"chunks": (SUBJECTS if dims[0] == "subject" else shape[0], *shape[1:])},
    )


def strings(dim: str, values: Sequence[str], **attrs: str) -> xr.Variable:
    """A variable of text."""
    # Object dtype becomes Zarr's variable-length string; numpy's fixed width has no v3 specification.
    return xr.Variable(dim, np.array(list(values), dtype=object), attrs)


def empty(
    dims: Sequence[str],
    shape: Sequence[int],
    dtype: np.dtype,
    block: Sequence[int],
    attrs: dict[str, Any],
    encoding: dict[str, Any] | None = None,
    fill: float | int | None = np.nan,
) -> xr.Variable:
    """A lazy variable of which only the metadata is written; ``fill`` None means no missing value."""
    encoding = {"chunks": tuple(block), **(encoding or {})}
    if fill is not None:
        # fill_value is what Zarr returns for an absent chunk, _FillValue what xarray turns into NaN.
        fill = dtype.type(fill)
        attrs = {**attrs, "_FillValue": fill}
        encoding["fill_value"] = fill
    data = da.zeros(tuple(shape), dtype=dtype, chunks=-1)  # never made; in smaller chunks its graph is large
    return xr.Variable(tuple(dims), data, attrs, encoding)
