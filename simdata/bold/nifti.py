"""The NIfTI-2 file around a CIFTI matrix: what its header says, checked against the file itself.

nibabel opens the same files, but raises whatever a broken byte made it stumble over, reads an extension of
any length that a header states, and takes longer for tables of all grayordinates than a run's conversion.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.nifti1 import data_type_codes
from nibabel.nifti2 import header_dtype

from simdata.common.errors import UserError
from simdata.common.source_file import AGAIN, Binary, is_compressed, opened

HEADER_BYTES, NIFTI1_HEADER_BYTES = 540, 348
FIRST_EXTENSION = 544
LARGEST_HEADER = 2**26  # bytes: some twenty times that of 170,494 grayordinates
CIFTI_EXTENSION = 32  # NIfTI's code for a CIFTI-2 header
MAGIC, GZIP_MAGIC = b"n+2", b"\x1f\x8b"
MNI = re.compile(r"space-MNI|_mni", re.IGNORECASE)
LINE_ENDS = [13, 10, 26, 10]  # which a transfer as text would change

ByteOrder = Literal["<", ">"]


@dataclass(frozen=True)
class NiftiMatrix:
    """Where the matrix lies in a (decompressed) file, and what it is made of.

    Attributes
    ----------
    volumes, grayordinates : its shape; the values of a grayordinate lie side by side
    dtype : as stored, integer or float of at most 8 bytes, in the file's byte order
    offset : of the first value, bytes
    slope, intercept : ``stored * slope + intercept`` is in scanner units; 1 and 0 where the file states none
    xml : of the CIFTI header
    """

    volumes: int
    grayordinates: int
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    xml: bytes

    @property
    def end(self) -> int:
        """Bytes of the (decompressed) file."""
        return self.offset + self.volumes * self.grayordinates * self.dtype.itemsize


def read_matrix(path: Path) -> NiftiMatrix:
    """What the header of a file says; nothing else is read.

    Raises
    ------
    UserError
        If it is not NIfTI-2 with a CIFTI header, states what cannot be, or the file is of another length.
    """
    with opened(path) as file:
        matrix = _read(path, file)
    size = matrix.end if is_compressed(path) else path.stat().st_size  # gzip tells in the end
    check_length(path, size, matrix)
    return matrix


def check_length(path: Path, size: int, matrix: NiftiMatrix) -> None:
    """Raise a UserError unless a (decompressed) file has the bytes that its header says."""
    if size < matrix.end:
        raise UserError(f"{path}: is cut short ({size:,} of {matrix.end:,} bytes); {AGAIN}")
    if size > matrix.end:
        raise UserError(f"{path}: goes on behind the {matrix.end:,} bytes that its header says; {AGAIN}")


def _read(path: Path, file: Binary) -> NiftiMatrix:
    order, header = _header(path, file.read(HEADER_BYTES))
    volumes, grayordinates = _shape(path, header)
    slope, intercept = _scaling(path, header)
    offset = int(header["vox_offset"])
    if not FIRST_EXTENSION <= offset <= LARGEST_HEADER:
        raise UserError(f"{path}: its NIfTI header has vox_offset {offset:,}, which cannot be; {AGAIN}")
    dtype = _stored_type(path, header).newbyteorder(order)
    xml = _cifti_extension(path, file.read(offset - HEADER_BYTES), order)
    return NiftiMatrix(volumes, grayordinates, dtype, offset, slope, intercept, xml)


def _header(path: Path, content: bytes) -> tuple[ByteOrder, np.void]:
    """The file's byte order, "<" or ">", and the header's fields."""
    if content.startswith(GZIP_MAGIC):
        raise UserError(f"{path}: is compressed; give it a name that ends in .nii.gz")
    if len(content) < HEADER_BYTES:
        raise UserError(f"{path}: cannot be read as CIFTI-2 (it has {len(content)} bytes); {AGAIN}")
    orders: tuple[ByteOrder, ...] = "<", ">"
    headers = {order: np.frombuffer(content, header_dtype.newbyteorder(order))[0] for order in orders}
    sizes = {int(header["sizeof_hdr"]): order for order, header in headers.items()}
    if NIFTI1_HEADER_BYTES in sizes:
        raise _volume(path, "is NIfTI-1, not CIFTI-2")
    header = headers[order := sizes.get(HEADER_BYTES, "<")]
    if HEADER_BYTES not in sizes or bytes(header["magic"]).rstrip(b"\0") != MAGIC:
        raise UserError(f"{path}: cannot be read as CIFTI-2 (it does not begin as NIfTI-2 does); {AGAIN}")
    if header["eol_check"].tolist() != LINE_ENDS:
        raise UserError(f"{path}: was changed on its way, as a transfer as text does; {AGAIN}")
    return order, header


def _shape(path: Path, header: np.void) -> tuple[int, int]:
    """Volumes and grayordinates of a matrix as CIFTI-2 lays it out: dimensions 5 and 6."""
    dimensions = header["dim"].tolist()
    if dimensions[0] != 6 or dimensions[1:5] != [1, 1, 1, 1] or min(dimensions[5:7]) < 1:
        if dimensions[0] in (3, 4):
            raise _volume(path, "is not CIFTI-2, but a volume")
        said = " x ".join(map(str, dimensions[1 : 1 + min(max(dimensions[0], 0), 7)]))
        raise UserError(f"{path}: its NIfTI header has dimensions {said}; CIFTI-2 has 1 x 1 x 1 x 1 x n x m")
    return dimensions[5], dimensions[6]


def _volume(path: Path, what: str) -> UserError:
    """Why a volume is not taken, and what makes a surface of it."""
    if MNI.search(path.name):
        what += ": in MNI space, where a voxel no longer tells on which bank of a sulcus it was"
    return UserError(
        f"{path}: {what}. A run on the cortical surface is needed: `fmriprep BIDS OUT participant "
        "--cifti-output 91k` makes dense time series (..._space-fsLR_den-91k_bold.dtseries.nii), "
        "`--output-spaces fsaverage6` GIFTI (..._hemi-L_space-fsaverage6_bold.func.gii)"
    )


def _stored_type(path: Path, header: np.void) -> np.dtype:
    code = int(header["datatype"])
    types: Any = data_type_codes.dtype
    try:
        dtype, name = np.dtype(types[code]), data_type_codes.label[code]
    except (KeyError, TypeError):
        raise UserError(f"{path}: its NIfTI header has datatype {code}, which is none; {AGAIN}") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError(f"{path}: holds {name}; save it as float32")
    if (bits := int(header["bitpix"])) != dtype.itemsize * 8:
        raise UserError(f"{path}: its NIfTI header has bitpix {bits} for values of {name}; {AGAIN}")
    return dtype


def _scaling(path: Path, header: np.void) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):  # as NIfTI says that there is none
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise UserError(f"{path}: its NIfTI header has scl_slope {slope}, scl_inter {intercept}; {AGAIN}")
    return slope, intercept


def _cifti_extension(path: Path, content: bytes, order: ByteOrder) -> bytes:
    """The XML among a header's extensions; ``content`` begins with the four bytes that announce them."""
    found, place = [], FIRST_EXTENSION - HEADER_BYTES
    while content[:1] == b"\1" and len(content) - place >= 16:
        size, code = np.frombuffer(content, f"{order}i4", 2, place).tolist()
        if not 8 <= size <= len(content) - place:
            left = f"{len(content) - place:,} bytes up to the data"
            raise UserError(f"{path}: an extension of its header says it has {size:,} of {left}; {AGAIN}")
        if code == CIFTI_EXTENSION:
            found.append(content[place + 8 : place + size].rstrip(b"\0"))
        place += size
    if len(found) != 1:
        has = f"{len(found)} CIFTI headers" if found else "no CIFTI header"
        raise UserError(f"{path}: is not CIFTI-2 ({has}); a dense time series (.dtseries.nii) is needed")
    return found[0]
