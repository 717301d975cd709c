"""FreeSurfer's MGH files (``.mgh``, compressed ``.mgz``), a file for each hemisphere.

Values lie volume after volume, big-endian, behind 284 bytes of header; the TR stands behind them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.bold.hemisphere_pair import HemispherePair, check_pair
from simdata.common.errors import UserError
from simdata.common.source_file import AGAIN, Binary, is_compressed, opened

FIRST_VALUE = 284  # bytes
HEADER = np.dtype([("version", ">i4"), ("shape", ">i4", 3), ("volumes", ">i4"), ("type", ">i4")])
TYPES: dict[int, np.dtype] = {0: np.dtype("u1"), 1: np.dtype(">i4"), 3: np.dtype(">f4"), 4: np.dtype(">i2")}
MOST_VERTICES = 2**22


@dataclass(frozen=True)
class MghSeries:
    """One hemisphere, as `simdata.bold.hemisphere_pair.HemisphereSeries` describes it."""

    path: Path
    volumes: int
    vertices: int
    tr: float | None
    dtype: np.dtype

    @classmethod
    def of(cls, path: Path) -> MghSeries:
        """Open a file. Of a compressed one all is read, since its TR is at the end."""
        with opened(path) as file:
            content = file.read(FIRST_VALUE)
            if len(content) < FIRST_VALUE:
                raise UserError(f"{path}: is no MGH file (it has {len(content)} bytes); {AGAIN}")
            header = np.frombuffer(content, HEADER, 1)[0]
            vertices, volumes = math.prod(header["shape"].tolist()), int(header["volumes"])
            dtype: np.dtype | None = TYPES.get(int(header["type"]))
            if int(header["version"]) != 1 or dtype is None or min(*header["shape"], volumes) < 1:
                raise UserError(f"{path}: is no MGH file, or its header is damaged; {AGAIN}")
            if vertices > MOST_VERTICES or header["shape"].max() < vertices:
                said = " x ".join(map(str, header["shape"].tolist()))
                raise UserError(f"{path}: is a volume of {said}; one of a surface (n x 1 x 1) is needed")
            end = FIRST_VALUE + vertices * volumes * dtype.itemsize
            if not is_compressed(path) and (size := path.stat().st_size) < end:
                raise UserError(f"{path}: is cut short ({size:,} of {end:,} bytes); {AGAIN}")
            return cls(path, volumes, vertices, _tr(file, end), dtype)

    @property
    def side(self) -> None:
        """Not said."""
        return None

    @property
    def stored_kind(self) -> str:
        """The kind of the file's own numbers."""
        return self.dtype.kind

    def frames(self) -> Iterator[np.ndarray]:
        """Each volume, (vertices,)."""
        size = self.vertices * self.dtype.itemsize
        with opened(self.path) as file:
            file.seek(FIRST_VALUE)
            for volume in range(self.volumes):
                content = file.read(size)
                if len(content) < size:
                    raise UserError(
                        f"{self.path}: is cut short (in volume {volume + 1:,} of {self.volumes:,}); {AGAIN}"
                    )
                yield np.frombuffer(content, self.dtype)
            while is_compressed(self.path) and file.read(size):  # the checksum is at the end
                pass


def open_mgh(left: Path, right: Path | None = None) -> HemispherePair:
    """Open a scan of two MGH files.

    Raises
    ------
    UserError
        If one is missing, is no time series on a known mesh, or they are not of one scan.
    """
    right = check_pair(left, right)
    return HemispherePair.of(MghSeries.of(left), MghSeries.of(right))


def _tr(file: Binary, end: int) -> float | None:
    """Seconds, of the milliseconds behind the values, where FreeSurfer knew them."""
    file.seek(end)
    content = file.read(4)
    step = float(np.frombuffer(content, ">f4")[0]) if len(content) == 4 else 0.0
    return step / 1000 if 0 < step < 1e6 else None
