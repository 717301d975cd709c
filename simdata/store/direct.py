"""Windows of BOLD straight from where the store keeps them, in the stored dtype.

zarr-python spends about a millisecond on a window, of which the data need ten microseconds. Here chunks of
every layout that `simdata.store.layout` knows are copied or decoded straight into the caller's buffer: out of
memory maps where they lie uncompressed on a local disk, else fetched together and decoded in threads. Other
layouts go through zarr. The values are the same in all cases.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from simdata.common.cores import available_cores
from simdata.common.errors import UserError
from simdata.store.layout import has_parcels, read_layout, with_one_hemisphere

if TYPE_CHECKING:
    from zarr.types import AnyArray

AXES = ("subject", "movie", "second", "hemisphere")


def _missing(array: AnyArray) -> np.number:
    """The stored value that xarray reads as NaN.

    It is not always what zarr reads where there is no chunk: of what comes back from netCDF that is 0.
    """
    whole = array.dtype.kind in "iu"
    value: np.number = array.dtype.type(array.attrs.get("_FillValue", array.fill_value) if whole else np.nan)
    return value


class _Reader(Protocol):
    def read(self, index: np.ndarray, frames: int, out: np.ndarray) -> None: ...


class BoldReader:
    """Reads ``bold`` of a store without decoding its values; may be used by several threads at once.

    Parameters
    ----------
    store : str, Path or zarr store
        Path, URL that fsspec knows (``https://``, ``s3://``), or any zarr store.
    threads : int, optional
        Those that copy (one by default) or, for compressed and remote stores, decode (all cores by default).
    verify : bool
        Compare uncompressed chunks on local disks with their checksums too, which costs half the speed.

    Attributes
    ----------
    shape : (subjects, movies, seconds, hemispheres, vertices); a store of parcels has one "hemisphere", whose
        vertices are the parcels
    dtype : as stored; ``stored * scale_factor`` is the z-score
    fill : the stored value that means missing: -128 in int8, NaN in floats. It stands outside the cortex, in
        vertices inside it of which a run has no data, behind the end of a run and for a run that is absent.
        It is no z-score: mask ``stored == fill`` before ``stored * scale_factor``, which makes -8 s.d. of it

    Raises
    ------
    UserError
        If an axis is missing, as in a selection of one subject by its label alone.
    FileNotFoundError
        If there is no store.

    Examples
    --------
    >>> reader = simdata.BoldReader("mini.zarr")
    >>> reader
    BoldReader((1, 2, 40, 2, 40962), int8)
    >>> index = [(0, 0, 5, 0), (0, 0, 6, 1)]  # subject, movie, first second, hemisphere
    >>> windows = reader.read(index, frames=3)
    >>> windows.shape, windows.dtype  # stored values: z-scores are windows * reader.scale_factor
    ((2, 3, 40962), dtype('int8'))
    """

    def __init__(self, store: str | Path | Store, threads: int | None = None, verify: bool = False) -> None:
        array = zarr.open_array(store, path="bold", mode="r")
        of_parcels = has_parcels(array)
        if array.ndim != len(AXES) + 1 and not of_parcels:
            raise UserError(
                f"{store}: its bold has {array.ndim} axes, not {', '.join(AXES)} and vertex; to make such a "
                'store select by lists or slices, as sel(subject=["1"])'
            )
        self.shape: tuple[int, ...] = with_one_hemisphere(array.shape) if of_parcels else array.shape
        self.dtype: np.dtype = array.dtype
        self.fill = _missing(array)
        attributes: dict[str, Any] = array.attrs.asdict()
        self.scale_factor = float(attributes.get("scale_factor", 1.0))
        self._reader = _reader_of(array, threads, verify)

    def __repr__(self) -> str:
        return f"BoldReader({self.shape}, {self.dtype})"

    def read(self, index: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
        """Gather windows.

        Parameters
        ----------
        index : (n, 4) int
            Rows of subject, movie, first second, hemisphere: positions, not labels.
        frames : int
            Seconds of a window.
        out : (n, frames, vertices) in the stored dtype, optional
            Written in place.

        Returns
        -------
        (n, frames, vertices) in the stored dtype; what the store lacks is ``fill``

        Raises
        ------
        IndexError
            If a window is not within the array.
        OSError
            If the store is damaged (`DamagedStore`); see ``verify``.
        """
        index = np.asarray(index, np.int64).reshape(-1, 4)
        self._check_bounds(index, frames)
        shape = (len(index), frames, self.shape[4])
        if out is None:
            out = np.empty(shape, self.dtype)
        if out.shape != shape or out.dtype != self.dtype:
            raise ValueError(f"out is {out.dtype} {out.shape}, not {self.dtype} {shape}")
        if not out.flags.c_contiguous:
            out[...] = self.read(index, frames)
        elif len(index):
            self._reader.read(index, frames, out)
        return out

    def read_run(
        self, subject: int, movie: int, hemisphere: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """One hemisphere of a run.

        Parameters
        ----------
        subject, movie, hemisphere : int
            Positions, not labels.
        out : (seconds, vertices) in the stored dtype, optional
            Written in place.

        Returns
        -------
        (seconds, vertices) in the stored dtype; ``fill`` behind the end of the run, and if it is absent

        Raises
        ------
        IndexError, OSError
            As for `read`.
        """
        seconds = self.shape[2]
        index = np.array([[subject, movie, 0, hemisphere]])
        run: np.ndarray = self.read(index, seconds, None if out is None else out[None])[0]
        return run

    def _check_bounds(self, index: np.ndarray, frames: int) -> None:
        last = index + np.array([0, 0, frames - 1, 0])
        outside = (index < 0) | (last >= self.shape[:4])
        if outside.any():
            row, axis = np.argwhere(outside)[0].tolist()
            raise IndexError(
                f"{AXES[axis]} {index[row, axis]} with {frames} frames is outside of {self.shape[axis]}"
            )


class _ZarrReader:
    """Any layout, through zarr's own pipeline."""

    def __init__(self, array: AnyArray) -> None:
        self._array, self._of_parcels = array, has_parcels(array)

    def read(self, index: np.ndarray, frames: int, out: np.ndarray) -> None:
        for window, (subject, movie, second, hemisphere) in zip(out, index.tolist(), strict=True):
            side = () if self._of_parcels else (hemisphere,)
            window[...] = self._array[(subject, movie, slice(second, second + frames), *side)]


def _reader_of(array: AnyArray, threads: int | None, verify: bool) -> _Reader:
    """The quickest way to read an array."""
    # Here, not above: they compile with numba, which takes longer to import than all else of `simdata.store`.
    from simdata.store.chunkwise import ChunkReader
    from simdata.store.mapped import OBJECTS_PER_RUN, MappedReader
    from simdata.store.objects import LocalObjects, RemoteObjects

    layout = read_layout(array)
    if layout is None:
        return _ZarrReader(array)
    cores = available_cores()
    if not isinstance(array.store, LocalStore):
        return ChunkReader(RemoteObjects(array.store_path, layout), layout, threads or cores)
    folder = array.store.root / array.path
    if layout.is_plain and not verify and layout.objects_per_run <= OBJECTS_PER_RUN:
        return MappedReader(folder, layout, threads or 1)
    return ChunkReader(LocalObjects(folder, layout), layout, threads or cores)
