"""Dense time series (CIFTI-2 ``.dtseries.nii``): the cortex of one run, memory-mapped.

nibabel shows a dtseries as (time, grayordinate); on disk time is contiguous per grayordinate, and each
hemisphere's cortex is one block of rows. Which vertices a row stands for, and with them the medial wall,
is taken from the file's own brain models (CIFTI-2 specification, 2014; Glasser et al. 2013, NeuroImage).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np

from simdata.errors import UserError
from simdata.meshes import DIVISIONS

CIFTI_EXTENSION = 32  # NIfTI's code for a CIFTI-2 header
READ_BYTES = 2**20  # decompressed at once
ROWS_AT_ONCE = 1024  # brought to scanner units
SERIES, BRAIN_MODELS = "CIFTI_INDEX_TYPE_SERIES", "CIFTI_INDEX_TYPE_BRAIN_MODELS"
STRUCTURES = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
DENSITY_OF_VERTICES = {10 * n**2 + 2: density for density, n in DIVISIONS.items()}


@dataclass(frozen=True)
class CortexBlock:
    """The rows of one hemisphere: ``rows`` of the file stand for ``vertices`` of the fs_LR mesh."""

    rows: slice
    vertices: np.ndarray


@dataclass(frozen=True)
class DenseSeries:
    """An opened dtseries whose header was checked.

    Attributes
    ----------
    volumes : number of TRs
    tr : repetition time, seconds
    grayordinates : rows in the file (170,494 at 1.6 mm, 91,282 at 2 mm in HCP's releases)
    density : "59k" or "32k", by the number of vertices its brain models state
    """

    path: Path
    volumes: int
    tr: float
    grayordinates: int
    density: str
    blocks: dict[str, CortexBlock]
    _image: nib.Nifti2Image

    def cortices(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each hemisphere with its (vertices with data, volumes) float32, in scanner units.

        They come in the file's order, so that a compressed file is read once, in a stream. The values are a
        read-only memory map of the file's own where it is neither compressed nor scaled, else an array; they
        are let go when the caller does so.

        Raises
        ------
        UserError
            If a compressed file is damaged: after the last hemisphere, if its end is.
        """
        blocks = sorted(self.blocks.items(), key=lambda item: item[1].rows.start)
        rows = self._decompressed if self.path.suffix == ".gz" else self._mapped
        for (hemisphere, _), values in zip(blocks, rows([block for _, block in blocks]), strict=True):
            yield hemisphere, self._in_scanner_units(values)

    def _mapped(self, blocks: list[CortexBlock]) -> Iterator[np.ndarray]:
        for block in blocks:
            offset, shape = self.place(block)
            yield np.memmap(self.path, self._image.get_data_dtype(), "r", offset, shape)

    def _decompressed(self, blocks: list[CortexBlock]) -> Iterator[np.ndarray]:
        try:
            with gzip.open(self.path) as file:
                for block in blocks:
                    offset, shape = self.place(block)
                    file.seek(offset)
                    yield _read_rows(file, np.empty(shape, self._image.get_data_dtype()))
                while file.read(READ_BYTES):  # the checksum is at the end
                    pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{self.path}: cannot be decompressed ({error}); download it again") from None

    def place(self, block: CortexBlock) -> tuple[int, tuple[int, int]]:
        """Offset in the (decompressed) file, and shape of a block: time is contiguous for each row."""
        row_bytes = self.volumes * self._image.get_data_dtype().itemsize
        shape = (block.rows.stop - block.rows.start, self.volumes)
        return self._image.dataobj.offset + block.rows.start * row_bytes, shape

    def _in_scanner_units(self, values: np.ndarray) -> np.ndarray:
        slope, intercept = self._image.dataobj.slope, self._image.dataobj.inter
        if (slope, intercept) == (1, 0):
            return np.asarray(values, np.float32)
        scaled = np.empty(values.shape, np.float32)
        for first in range(0, len(values), ROWS_AT_ONCE):  # all of it in float64 would be twice the memory
            some = slice(first, first + ROWS_AT_ONCE)
            scaled[some] = values[some] * slope + intercept
        return scaled


def _read_rows(file: gzip.GzipFile, rows: np.ndarray) -> np.ndarray:
    """Fill ``rows``, piece by piece: gzip's own readinto would hold all of them twice."""
    space = memoryview(rows).cast("B")
    done = 0
    while done < len(space):
        piece = file.read(min(READ_BYTES, len(space) - done))
        if not piece:
            raise EOFError(f"it holds {done:,} of the {len(space):,} bytes of a hemisphere")
        space[done : done + len(piece)] = piece
        done += len(piece)
    return rows


def open_dtseries(path: Path) -> DenseSeries:
    """Open a run and check that its header makes sense; nothing but the header is read.

    Raises
    ------
    UserError
        If the file is not a CIFTI-2 dense series in seconds, lacks a cortex, is on an unknown mesh,
        or is shorter than its header says.
    """
    try:
        # Not nibabel's CIFTI image, nor its header: for tables of all grayordinates both take longer than
        # the conversion of the run.
        image = nib.Nifti2Image.from_filename(path)
        maps = _index_maps(image)
    except Exception as error:  # nibabel raises whatever the broken byte made it stumble over
        raise UserError(f"{path}: cannot be read as CIFTI-2 ({error}); download it again") from None
    if maps is None:
        raise UserError(f"{path}: is not CIFTI-2; a dense time series (.dtseries.nii) is needed")
    kinds = [axis.get("IndicesMapToDataType") for axis in maps]
    if kinds != [SERIES, BRAIN_MODELS]:
        raise UserError(f"{path}: is not a dense time series (its axes are {' x '.join(map(str, kinds))})")
    series, models = maps
    if (unit := series.get("SeriesUnit", "")) != "SECOND":
        raise UserError(f"{path}: its series is in {unit.lower()}s, not seconds")
    volumes, grayordinates = image.shape[4:]
    _check_length(path, image)
    density, blocks = _cortex_blocks(path, models, grayordinates)
    tr = float(series.attrib["SeriesStep"]) * 10.0 ** int(series.attrib["SeriesExponent"])
    return DenseSeries(path, volumes, tr, grayordinates, density, blocks, image)


def _index_maps(image: nib.Nifti2Image) -> list[ElementTree.Element] | None:
    """What the two axes of the matrix stand for; None if there is no CIFTI header."""
    headers = [e.content for e in image.header.extensions if e.get_code() == CIFTI_EXTENSION]
    if not headers:
        return None
    maps = {}
    for axis in ElementTree.fromstring(headers[0].rstrip(b"\0")).iter("MatrixIndicesMap"):
        for dimension in axis.attrib["AppliesToMatrixDimension"].split(","):
            maps[int(dimension)] = axis
    return [maps[0], maps[1]]


def _check_length(path: Path, image: nib.Nifti2Image) -> None:
    if path.suffix == ".gz":  # gzip notices by itself, while reading
        return
    needed = image.dataobj.offset + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    size = path.stat().st_size
    if size < needed:
        raise UserError(f"{path}: is cut short ({size:,} of {needed:,} bytes); download it again")


def _cortex_blocks(
    path: Path, models: ElementTree.Element, grayordinates: int
) -> tuple[str, dict[str, CortexBlock]]:
    found = {model.get("BrainStructure"): model for model in models.iter("BrainModel")}
    blocks, densities = {}, set()
    for hemisphere, structure in STRUCTURES.items():
        if structure not in found:
            raise UserError(f"{path}: has no {structure}; both hemispheres are needed")
        model = found[structure]
        vertices = int(model.get("SurfaceNumberOfVertices", 0))
        if vertices not in DENSITY_OF_VERTICES:
            known = ", ".join(f"{n:,} ({d})" for n, d in DENSITY_OF_VERTICES.items())
            raise UserError(f"{path}: {structure} has a mesh of {vertices:,} vertices; known are {known}")
        densities.add(DENSITY_OF_VERTICES[vertices])
        blocks[hemisphere] = _cortex_block(path, model, grayordinates)
    if len(densities) > 1:
        raise UserError(f"{path}: its hemispheres are on different meshes ({', '.join(sorted(densities))})")
    return densities.pop(), blocks


def _cortex_block(path: Path, model: ElementTree.Element, rows: int) -> CortexBlock:
    first, count = int(model.attrib["IndexOffset"]), int(model.attrib["IndexCount"])
    # What is no number ends the reading, and the count is short.
    vertices = np.fromstring(model.findtext("VertexIndices", ""), np.int64, sep=" ")
    if len(vertices) != count:
        stated = f"{len(vertices):,} vertex indices for {count:,} rows"
        raise UserError(f"{path}: {model.get('BrainStructure')} has {stated}; download it again")
    if first + count > rows:
        stated = f"rows up to {first + count:,}, and the file has {rows:,}"
        raise UserError(f"{path}: {model.get('BrainStructure')} has {stated}; download it again")
    return CortexBlock(slice(first, first + count), vertices)


def check_run(series: DenseSeries, *, tr: float, volumes: int) -> None:
    """Raise a UserError unless a run has the TR and the number of volumes that its catalog states."""
    if abs(series.tr - tr) > 1e-3:
        raise UserError(f"{series.path}: has a TR of {series.tr:g} s, the catalog says {tr:g} s")
    if series.volumes != volumes:
        raise UserError(f"{series.path}: has {series.volumes} volumes, the catalog says {volumes}")
