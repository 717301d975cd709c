"""Runs that are series of parcels already: CIFTI ptseries, HDF5, and tables with a column for each parcel.

Only CIFTI says its TR. That of the others is in the JSON beside a BIDS file, or in the catalog.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Image, ParcelsAxis, SeriesAxis

from simdata.bold.opened_run import PARCELS
from simdata.common.errors import UserError
from simdata.common.hdf5 import arrays_in, h5py
from simdata.surface.structures import IN_CIFTI

MOST_PARCELS = 100_000
MISSING = {"", "n/a", "nan", "NaN", "NA"}
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class ParcelSeries:
    """A run of parcels, whose values are small and in memory.

    Attributes
    ----------
    tr, start : s, as `simdata.bold.opened_run.ReadsBold` has them
    parcels : their names
    parcel_hemispheres : of each L, R, or "" where the file does not say
    values : (parcels, volumes) float32, C-contiguous
    stored_kind : as `simdata.bold.opened_run.ReadsBold` has it
    """

    path: Path
    tr: float | None
    start: float
    parcels: tuple[str, ...]
    parcel_hemispheres: tuple[str, ...]
    values: np.ndarray
    stored_kind: str
    density = PARCELS

    @property
    def volumes(self) -> int:
        return self.values.shape[1]

    @property
    def vertices(self) -> dict[str, np.ndarray]:
        """The row of each parcel."""
        return {PARCELS: np.arange(len(self.parcels))}

    def cortices(self) -> Iterator[tuple[str, np.ndarray]]:
        """The values, as those of the one side."""
        yield PARCELS, self.values


def open_ptseries(path: Path) -> ParcelSeries:
    """A CIFTI-2 file of a series of parcels."""
    image = nib.load(path)
    if not isinstance(image, Cifti2Image):
        raise UserError(f"{path}: is no CIFTI-2 file")
    axes = [image.header.get_axis(number) for number in range(image.ndim)]
    if len(axes) != 2 or not isinstance(axes[0], SeriesAxis) or not isinstance(axes[1], ParcelsAxis):
        kinds = ", ".join(type(axis).__name__.removesuffix("Axis").lower() for axis in axes)
        raise UserError(f"{path}: its axes are of {kinds}, not of a series and of parcels")
    series, parcels = axes
    if series.unit != "SECOND":
        raise UserError(f"{path}: its series is in {series.unit.lower()}, not in seconds")
    names = tuple(str(name) for name in parcels.name)
    sides = tuple(map(_hemisphere, parcels.vertices))
    values = image.get_fdata(dtype=np.float32)
    kind = image.get_data_dtype().kind
    return _series(path, float(series.step), float(series.start), names, sides, values, kind)


def _hemisphere(vertices: dict[str, np.ndarray]) -> str:
    """L or R, where all vertices of a parcel are there."""
    sides = [side for side, structure in IN_CIFTI.items() if len(vertices.get(structure, ()))]
    return sides[0] if len(sides) == 1 else ""


def open_table(path: Path) -> ParcelSeries:
    """A CSV or TSV file: a row for each volume, and a column for each parcel with its name at the top.

    ``n/a`` is a value that is missing. A first column without a name numbers the rows, as pandas writes it.
    """
    delimiter = DELIMITERS[path.suffix.lower()]
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows, [])
        if not 0 < len(names) <= MOST_PARCELS:
            raise UserError(f"{path}: has no line with the names of its parcels")
        values = np.array([_numbers(path, number, row, names) for number, row in enumerate(rows, 2) if row])
    first = int(not names[0].strip())
    names = [name.strip() for name in names[first:]]
    if any(_is_decimal(name) for name in names):
        raise UserError(f"{path}: its first line has values, and not the names of its parcels")
    if not len(values):
        raise UserError(f"{path}: has no volume")
    return _series(path, None, 0.0, tuple(names), ("",) * len(names), values[:, first:], "f")


def _numbers(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> np.ndarray:
    if len(row) != len(names):
        raise UserError(f"{path}: line {line} has {len(row)} values, and the first has {len(names)} names")
    try:
        return np.array([np.nan if value.strip() in MISSING else float(value) for value in row], np.float32)
    except ValueError as error:
        raise UserError(f"{path}: line {line} has what is no number ({error})") from None


def _is_decimal(text: str) -> bool:
    """Whether it is a number with a point or an exponent, as no name is."""
    try:
        float(text)
    except ValueError:
        return False
    return not text.isdigit()


def open_hdf5(path: Path, *, inside: str = "") -> ParcelSeries:
    """An array (volumes, parcels) of an HDF5 file, as Algonauts 2025 has; parcels are named by their numbers.

    Parameters
    ----------
    inside : name of the array; may be left out where the file has one
    """
    module = h5py()
    with module.File(path, "r") as file:
        name = inside or _only(path, arrays_in(path))
        found = file.get(name)
        if not isinstance(found, module.Dataset) or found.ndim != 2 or found.dtype.kind not in "fiu":
            raise UserError(f"{path}: has no array (volumes, parcels) of numbers called {name}")
        if not 0 < found.shape[1] <= MOST_PARCELS:
            raise UserError(f"{path}: {name} has {found.shape[1]:,} parcels; {MOST_PARCELS:,} at most")
        kind, values = found.dtype.kind, found[:].astype(np.float32)
    names = tuple(str(number) for number in range(1, values.shape[1] + 1))
    return _series(path, None, 0.0, names, ("",) * len(names), values, kind)


def _only(path: Path, keys: list[str]) -> str:
    if len(keys) != 1:
        listed = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
        raise UserError(
            f"{path}: has {len(keys)} arrays ({listed}): say which in the pattern, as "
            "bold.h5::ses-{session}_task-{movie}"
        )
    return keys[0]


def _series(
    path: Path,
    tr: float | None,
    start: float,
    names: tuple[str, ...],
    sides: tuple[str, ...],
    values: np.ndarray,
    kind: str,
) -> ParcelSeries:
    return ParcelSeries(path, tr, start, names, sides, np.ascontiguousarray(values.T, np.float32), kind)
