"""Dense time series (CIFTI-2 ``.dtseries.nii``): the cortex of one run, memory-mapped.

nibabel shows a dtseries as (time, grayordinate); on disk time is contiguous per grayordinate, and each
hemisphere's cortex is one block of rows. Which vertices a row stands for, and with them the medial wall,
is taken from the file's own brain models (CIFTI-2 specification, 2014; Glasser et al. 2013, NeuroImage).
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2BrainModel, Cifti2Header, Cifti2MatrixIndicesMap

from simdata.errors import UserError
from simdata.meshes import DIVISIONS

CIFTI_EXTENSION = 32  # NIfTI's code for a CIFTI-2 header
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

    def cortex(self, hemisphere: str) -> np.ndarray:
        """(vertices with data, volumes) of one hemisphere, in scanner units.

        A read-only memory map of the file's own float32 where the file is neither compressed nor
        scaled, else an array.
        """
        try:
            whole = np.asanyarray(self._image.dataobj)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{self.path}: cannot be decompressed ({error}); download it again") from None
        # NIfTI keeps four unused dimensions before CIFTI's two.
        return whole[0, 0, 0, 0].T[self.blocks[hemisphere].rows]


def open_dtseries(path: Path) -> DenseSeries:
    """Open a run and check that its header makes sense; nothing but the header is read.

    Raises
    ------
    UserError
        If the file is not a CIFTI-2 dense series in seconds, lacks a cortex, is on an unknown mesh,
        or is shorter than its header says.
    """
    try:
        # Not nib.load: its CIFTI image builds tables of all grayordinates, which takes most of a second.
        image = nib.Nifti2Image.from_filename(path)
        header = _cifti_header(image)
    except Exception as error:  # nibabel raises whatever the broken byte made it stumble over
        raise UserError(f"{path}: cannot be read as CIFTI-2 ({error}); download it again") from None
    if header is None:
        raise UserError(f"{path}: is not CIFTI-2; a dense time series (.dtseries.nii) is needed")
    kinds = [header.matrix.get_index_map(i).indices_map_to_data_type for i in range(2)]
    if kinds != [SERIES, BRAIN_MODELS]:
        raise UserError(f"{path}: is not a dense time series (its axes are {' x '.join(kinds)})")
    series, models = (header.matrix.get_index_map(i) for i in range(2))
    if series.series_unit != "SECOND":
        raise UserError(f"{path}: its series is in {series.series_unit.lower()}s, not seconds")
    volumes, grayordinates = image.shape[4:]
    _check_length(path, image)
    density, blocks = _cortex_blocks(path, models)
    tr = series.series_step * 10.0**series.series_exponent
    return DenseSeries(path, volumes, tr, grayordinates, density, blocks, image)


def _cifti_header(image: nib.Nifti2Image) -> Cifti2Header | None:
    extensions = [e for e in image.header.extensions if e.get_code() == CIFTI_EXTENSION]
    return extensions[0].get_content() if extensions else None


def _check_length(path: Path, image: nib.Nifti2Image) -> None:
    if path.suffix == ".gz":  # gzip notices by itself, while reading
        return
    needed = image.dataobj.offset + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    size = path.stat().st_size
    if size < needed:
        raise UserError(f"{path}: is cut short ({size:,} of {needed:,} bytes); download it again")


def _cortex_blocks(path: Path, models: Cifti2MatrixIndicesMap) -> tuple[str, dict[str, CortexBlock]]:
    found = {model.brain_structure: model for model in models.brain_models}
    blocks, densities = {}, set()
    for hemisphere, structure in STRUCTURES.items():
        if structure not in found:
            raise UserError(f"{path}: has no {structure}; both hemispheres are needed")
        model: Cifti2BrainModel = found[structure]
        vertices = model.surface_number_of_vertices
        if vertices not in DENSITY_OF_VERTICES:
            known = ", ".join(f"{n:,} ({d})" for n, d in DENSITY_OF_VERTICES.items())
            raise UserError(f"{path}: {structure} has a mesh of {vertices:,} vertices; known are {known}")
        densities.add(DENSITY_OF_VERTICES[vertices])
        rows = slice(model.index_offset, model.index_offset + model.index_count)
        blocks[hemisphere] = CortexBlock(rows, np.asarray(model.vertex_indices))
    if len(densities) > 1:
        raise UserError(f"{path}: its hemispheres are on different meshes ({', '.join(sorted(densities))})")
    return densities.pop(), blocks


def check_run(series: DenseSeries, *, tr: float, volumes: int) -> None:
    """Raise a UserError unless a run has the TR and the number of volumes that its catalog states."""
    if abs(series.tr - tr) > 1e-3:
        raise UserError(f"{series.path}: has a TR of {series.tr:g} s, the catalog says {tr:g} s")
    if series.volumes != volumes:
        raise UserError(f"{series.path}: has {series.volumes} volumes, the catalog says {volumes}")
