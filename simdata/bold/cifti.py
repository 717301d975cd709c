"""Dense time series (CIFTI-2 ``.dtseries.nii``): the cortex of one run, memory-mapped.

nibabel shows a dtseries as (time, grayordinate); on disk time is contiguous per grayordinate, and each
hemisphere's cortex is one block of rows. Which vertices a row stands for, and with them the medial wall,
is taken from the file's own brain models (CIFTI-2 specification, 2014; Glasser et al. 2013, NeuroImage).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.bold.cifti_header import CortexBlock, read_header
from simdata.bold.nifti import NiftiMatrix, check_length, read_matrix
from simdata.common.source_file import Binary, is_compressed, opened

READ_BYTES = 2**20  # decompressed at once
ROWS_AT_ONCE = 1024  # brought to scanner units


@dataclass(frozen=True)
class DenseSeries:
    """An opened dtseries whose header was checked.

    Attributes
    ----------
    volumes : number of TRs
    tr : repetition time, seconds
    start : when the first volume begins by the scan's clock, s (SeriesStart)
    grayordinates : rows in the file (170,494 at 1.6 mm, 91,282 at 2 mm in HCP's releases)
    density : "59k" or "32k", by the number of vertices its brain models state
    """

    path: Path
    volumes: int
    tr: float
    start: float
    grayordinates: int
    density: str
    blocks: dict[str, CortexBlock]
    _matrix: NiftiMatrix

    @property
    def vertices(self) -> dict[str, np.ndarray]:
        """The vertex of each row of `cortices`."""
        return {hemisphere: block.vertices for hemisphere, block in self.blocks.items()}

    @property
    def stored_kind(self) -> str:
        """The kind of the file's own numbers: "f" for floats, "i" or "u" for whole ones."""
        return self._matrix.dtype.kind

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
        rows = self._decompressed if is_compressed(self.path) else self._mapped
        for (hemisphere, _), values in zip(blocks, rows([block for _, block in blocks]), strict=True):
            yield hemisphere, self._in_scanner_units(values)

    def _mapped(self, blocks: list[CortexBlock]) -> Iterator[np.ndarray]:
        for block in blocks:
            offset, shape = self.place(block)
            yield np.memmap(self.path, self._matrix.dtype, "r", offset, shape)

    def _decompressed(self, blocks: list[CortexBlock]) -> Iterator[np.ndarray]:
        with opened(self.path) as file:
            for block in blocks:
                offset, shape = self.place(block)
                file.seek(offset)
                yield _read_rows(file, np.empty(shape, self._matrix.dtype))
            while file.tell() <= self._matrix.end and file.read(READ_BYTES):  # the checksum is at the end
                pass
            check_length(self.path, file.tell(), self._matrix)

    def place(self, block: CortexBlock) -> tuple[int, tuple[int, int]]:
        """Offset in the (decompressed) file, and shape of a block: time is contiguous for each row."""
        row_bytes = self.volumes * self._matrix.dtype.itemsize
        shape = (block.rows.stop - block.rows.start, self.volumes)
        return self._matrix.offset + block.rows.start * row_bytes, shape

    def _in_scanner_units(self, values: np.ndarray) -> np.ndarray:
        slope, intercept = self._matrix.slope, self._matrix.intercept
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is found as infinite
            if (slope, intercept) == (1, 0):
                return np.asarray(values, np.float32)
            scaled = np.empty(values.shape, np.float32)
            for first in range(0, len(values), ROWS_AT_ONCE):  # all of it in float64: twice the memory
                some = slice(first, first + ROWS_AT_ONCE)
                scaled[some] = values[some].astype(np.float64) * slope + intercept
            return scaled


def _read_rows(file: Binary, rows: np.ndarray) -> np.ndarray:
    """Fill ``rows``, piece by piece: gzip's own readinto would hold all of them twice."""
    space = rows.data.cast("B")
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
        If the file is not a CIFTI-2 dense series in seconds, lacks a cortex, is on an unknown mesh, says what
        cannot be, or is not as long as its header says.
    """
    matrix = read_matrix(path)
    header = read_header(path, matrix.xml, matrix.volumes, matrix.grayordinates)
    return DenseSeries(
        path,
        matrix.volumes,
        header.tr,
        header.start,
        matrix.grayordinates,
        header.density,
        header.blocks,
        matrix,
    )
