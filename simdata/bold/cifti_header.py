"""A CIFTI-2 header of a dense series: XML in, checked blocks out.

Every index, range, count and overlap that a header states is checked here and nowhere else (CIFTI-2
specification, 2014): what comes out may be relied on, and what contradicts itself or the matrix is a
UserError that names the file, the field and its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from simdata.common.errors import UserError
from simdata.surface.meshes import DIVISIONS
from simdata.surface.structures import IN_CIFTI

SERIES, BRAIN_MODELS = "CIFTI_INDEX_TYPE_SERIES", "CIFTI_INDEX_TYPE_BRAIN_MODELS"
SURFACE, VOXELS = "CIFTI_MODEL_TYPE_SURFACE", "CIFTI_MODEL_TYPE_VOXELS"
INDICES = {SURFACE: "VertexIndices", VOXELS: "VoxelIndicesIJK"}
DENSITY_OF_VERTICES = {10 * n**2 + 2: density for density, n in DIVISIONS.items()}
INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")
LATEST = 86_400  # s: a series starts within a day
DEPTH = 32  # of elements in one another: CIFTI needs 7
AGAIN = "download it again, or write it again with what made it"


@dataclass(frozen=True)
class CortexBlock:
    """One hemisphere: ``rows`` of the file stand for ``vertices`` of the fs_LR mesh, each of them once."""

    rows: slice
    vertices: np.ndarray


@dataclass(frozen=True)
class SeriesHeader:
    """What the header of a dense series says.

    ``tr`` and ``start``, when its first volume begins by the scan's clock, are in s; ``density`` is "59k" or
    "32k".
    """

    tr: float
    start: float
    density: str
    blocks: dict[str, CortexBlock]


def read_header(path: Path, xml: bytes, volumes: int, grayordinates: int) -> SeriesHeader:
    """Check the header of a matrix of so many volumes and grayordinates.

    Raises
    ------
    UserError
        If it is not that of a dense series in seconds, lacks a cortex, is on an unknown mesh, or contradicts
        itself or the matrix.
    """
    series, models = _axes(path, _parsed(path, xml))
    tr, start = _tr_and_start(_Field(path, "the series", series), volumes)
    density, blocks = _cortex_blocks(path, _brain_models(path, models, grayordinates))
    return SeriesHeader(tr, start, density, blocks)


def _parsed(path: Path, xml: bytes) -> Element:
    """The elements of a header. Entities, which could make it long without end, are refused."""
    parser, builder, depth = expat.ParserCreate(), TreeBuilder(), 0
    parser.buffer_text = True

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise UserError(f"{path}: its CIFTI header nests more than {DEPTH} elements; {AGAIN}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> NoReturn:
        raise UserError(f"{path}: its CIFTI header has a DOCTYPE, which CIFTI has not; {AGAIN}")

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
        root = builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: of an encoding unheard of
        raise UserError(f"{path}: cannot be read as CIFTI-2 (its header: {error}); {AGAIN}") from None
    version = root.get("Version", "")
    if root.tag != "CIFTI" or version not in ("2", "2.0"):
        what = f"is CIFTI version {version}" if root.tag == "CIFTI" else f"has a header of {root.tag[:40]}"
        convert = "convert it with `wb_command -file-convert -cifti-version-convert IN 2 OUT`"
        raise UserError(f"{path}: {what}, not CIFTI-2; {convert if version == '1' else AGAIN}")
    return root


def _axes(path: Path, root: Element) -> tuple[Element, Element]:
    """What the two dimensions of the matrix stand for: time, which runs fastest, and grayordinates."""
    axes: dict[str, Element] = {}
    for axis in root.findall("Matrix/MatrixIndicesMap"):
        applies = axis.get("AppliesToMatrixDimension", "")
        for dimension in applies.split(","):
            if (name := dimension.strip()) in axes or name not in ("0", "1"):
                twice = "a second time" if name in axes else "which a dense series has not"
                raise _wrong(path, f"AppliesToMatrixDimension {applies!r}, {twice}")
            axes[name] = axis
    if missing := {"0", "1"} - set(axes):
        raise _wrong(path, f"no MatrixIndicesMap for dimension {', '.join(sorted(missing))}")
    kinds = [str(axes[name].get("IndicesMapToDataType")) for name in ("0", "1")]
    if kinds != [SERIES, BRAIN_MODELS]:
        turned = kinds == [BRAIN_MODELS, SERIES]
        advice = "; turn it with `wb_command -cifti-transpose`" if turned else ""
        raise UserError(f"{path}: is not a dense time series (its axes are {' x '.join(kinds)}){advice}")
    return axes["0"], axes["1"]


@dataclass(frozen=True)
class _Field:
    """Attributes of an element, as numbers."""

    path: Path
    of: str
    element: Element

    def text(self, name: str) -> str:
        value = self.element.get(name)
        if value is None:
            raise _wrong(self.path, f"no {name} of {self.of}")
        return value

    def integer(self, name: str) -> int:
        if not INTEGER.fullmatch(text := self.text(name)):
            raise _wrong(self.path, f"{name} {_short(text)} of {self.of}, which is no whole number")
        return int(text)

    def number(self, name: str) -> float:
        if not NUMBER.fullmatch(text := self.text(name)) or not math.isfinite(float(text)):
            raise _wrong(self.path, f"{name} {_short(text)} of {self.of}, which is no number")
        return float(text)


def _tr_and_start(series: _Field, volumes: int) -> tuple[float, float]:
    """Seconds from one volume to the next, and the time at which the first begins."""
    path, unit = series.path, series.text("SeriesUnit")
    if unit.strip().upper() != "SECOND":
        raise UserError(f"{path}: its SeriesUnit is {_short(unit)}, not SECOND; a time series is needed")
    if (points := series.integer("NumberOfSeriesPoints")) != volumes:
        raise _wrong(path, f"NumberOfSeriesPoints {points:,}, and the data have {volumes:,} volumes")
    exponent, step = series.integer("SeriesExponent"), series.number("SeriesStep")
    if abs(exponent) > 30 or not 1e-6 < (tr := step * 10.0**exponent) < 1e6:
        raise _wrong(path, f"SeriesStep {step:g} and SeriesExponent {exponent}, which is no TR")
    start = series.number("SeriesStart") * 10.0**exponent
    if abs(start) > LATEST:
        raise _wrong(path, f"SeriesStart {start:g} s, which is more than a day")
    return tr, start


def _brain_models(path: Path, axis: Element, grayordinates: int) -> dict[str, tuple[_Field, CortexBlock]]:
    """Each surface by its structure, once all models were seen to share the rows out among them."""
    dimensions = _volume_dimensions(path, axis)
    surfaces, ranges = {}, []
    for model in axis.findall("BrainModel"):
        field = _Field(path, str(model.get("BrainStructure")), model)
        kind = field.text("ModelType")
        if kind not in INDICES:
            raise _wrong(path, f"ModelType {_short(kind)} of {field.of}")
        first, count = field.integer("IndexOffset"), field.integer("IndexCount")
        if first < 0 or count < 0 or first + count > grayordinates:
            stated = f"IndexOffset {first:,} and IndexCount {count:,} of {field.of}"
            raise _wrong(path, f"{stated}: rows up to {first + count:,}, and the file has {grayordinates:,}")
        ranges.append((first, first + count, field.of))
        indices = _indices(field, INDICES[kind])
        rows = slice(first, first + count)
        if kind == VOXELS:
            _check_voxels(field, indices, count, dimensions)
        elif field.of in surfaces:
            raise _wrong(path, f"two surfaces of {field.of}")
        else:
            surfaces[field.of] = field, CortexBlock(rows, indices)
            _check_vertices(field, indices, count)
    _check_shared_out(path, ranges, grayordinates)
    return surfaces


def _check_shared_out(path: Path, ranges: Iterable[tuple[int, int, str]], grayordinates: int) -> None:
    """Raise a UserError unless each row belongs to one model."""
    done, before = 0, "the beginning"
    for first, stop, structure in sorted(ranges):
        if first != done:
            how = "overlap" if first < done else "leave a gap between them"
            raise _wrong(path, f"IndexOffset {first:,} of {structure}: its rows and those of {before} {how}")
        done, before = stop, structure
    if done != grayordinates:
        raise _wrong(path, f"models of {done:,} rows in all, and the file has {grayordinates:,}")


def _indices(field: _Field, name: str) -> np.ndarray:
    """(n,) int64 of a list of indices."""
    found = field.element.findall(name)
    if len(found) != 1:
        raise _wrong(field.path, f"{len(found)} {name} of {field.of}")
    text = "".join(found[0].itertext())
    # Plain digits alone: what makes numbers of text takes 1_0 and other scripts' digits too.
    if text.encode().translate(None, b"0123456789 \t\r\n"):
        bad = next(word for word in text.split() if not re.fullmatch(r"[0-9]+", word))
        raise _wrong(field.path, f"{name} with {_short(bad)} of {field.of}, which is no index")
    return np.fromstring(text, np.int64, sep=" ")  # what int64 cannot hold is its largest


def _check_vertices(field: _Field, vertices: np.ndarray, count: int) -> None:
    if len(vertices) != count:
        raise _wrong(field.path, f"{len(vertices):,} vertex indices for {count:,} rows of {field.of}")
    of_mesh = field.integer("SurfaceNumberOfVertices")
    if len(vertices) and (largest := int(vertices.max())) >= of_mesh:
        stated = f"vertex {largest:,} of {field.of}"
        raise _wrong(field.path, f"{stated}, whose SurfaceNumberOfVertices is {of_mesh:,}")
    _check_once(field, "vertex", vertices)


def _check_voxels(field: _Field, indices: np.ndarray, count: int, dimensions: list[int] | None) -> None:
    if len(indices) != 3 * count:
        raise _wrong(field.path, f"{len(indices) / 3:,g} voxel indices for {count:,} rows of {field.of}")
    if dimensions is None:
        raise _wrong(field.path, f"voxels of {field.of}, but no VolumeDimensions")
    voxels = indices.reshape(-1, 3)
    if (beyond := (voxels >= dimensions).any(axis=1)).any():
        first = voxels[beyond][0].tolist()
        raise _wrong(field.path, f"voxel {first} of {field.of}, whose VolumeDimensions are {dimensions}")
    _check_once(field, "voxel", np.ravel_multi_index(tuple(voxels.T), dimensions) if count else voxels[:, 0])


def _check_once(field: _Field, what: str, indices: np.ndarray) -> None:
    in_order = np.sort(indices)
    if (twice := in_order[1:] == in_order[:-1]).any():
        raise _wrong(field.path, f"{what} {int(in_order[1:][twice][0]):,} of {field.of} twice")


def _volume_dimensions(path: Path, axis: Element) -> list[int] | None:
    volume = axis.find("Volume")
    if volume is None:
        return None
    words = volume.get("VolumeDimensions", "").split(",")
    if len(words) != 3 or not all(re.fullmatch(r"\s*[0-9]{1,5}\s*", word) for word in words):
        raise _wrong(path, f"VolumeDimensions {_short(','.join(words))}")
    return [int(word) for word in words]


def _cortex_blocks(
    path: Path, surfaces: dict[str, tuple[_Field, CortexBlock]]
) -> tuple[str, dict[str, CortexBlock]]:
    blocks, densities = {}, set()
    for hemisphere, structure in IN_CIFTI.items():
        if structure not in surfaces:
            raise UserError(f"{path}: has no {structure}; both hemispheres are needed")
        field, blocks[hemisphere] = surfaces[structure]
        vertices = field.integer("SurfaceNumberOfVertices")
        if vertices not in DENSITY_OF_VERTICES:
            known = ", ".join(f"{n:,} ({d})" for n, d in DENSITY_OF_VERTICES.items())
            raise UserError(f"{path}: {structure} has a mesh of {vertices:,} vertices; known are {known}")
        densities.add(DENSITY_OF_VERTICES[vertices])
    if len(densities) > 1:
        raise UserError(f"{path}: its hemispheres are on different meshes ({', '.join(sorted(densities))})")
    return densities.pop(), blocks


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{path}: its CIFTI header has {what}; {AGAIN}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
