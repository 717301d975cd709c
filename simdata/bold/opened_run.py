"""An opened run: what a format of BOLD makes of a file, and the check that it does.

The compiled loops of the conversion read wherever shapes and vertices send them. What reaches them was seen
here to be as `ReadsBold` says, whoever wrote the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simdata.common.errors import UserError
from simdata.common.faults import in_words
from simdata.surface.meshes import HEMISPHERES, MESH_VERTICES

PARCELS = "parcels"  # density and side of a run that is of parcels
SIDES = ({*HEMISPHERES}, {PARCELS})
STORED_KINDS = ("f", "i", "u")
HEADER: dict[str, tuple[Callable[[object], bool], str]] = {  # attribute of an opened run: what it must be
    "path": (lambda path: isinstance(path, Path), "the file's path"),
    "volumes": (lambda count: isinstance(count, Integral) and int(count) > 0, "a whole number above 0"),
    "tr": (lambda tr: isinstance(tr, Real) and 0 < float(tr) < math.inf, "seconds above 0"),
    "start": (lambda start: isinstance(start, Real) and math.isfinite(float(start)), "seconds"),
    "density": (
        lambda density: density in [*MESH_VERTICES, PARCELS],
        f"one of {', '.join(MESH_VERTICES)}",
    ),
    "vertices": (lambda v: isinstance(v, Mapping) and set(v) in SIDES, "a mapping of L and R"),
    "stored_kind": (lambda kind: kind in STORED_KINDS, f"one of {', '.join(STORED_KINDS)}"),
    "cortices": (callable, "a method"),
    "parcels": (lambda names: _are_names(names), "a tuple of names, each once"),
    "parcel_hemispheres": (
        lambda sides: isinstance(sides, tuple) and set(sides) <= {"L", "R", ""},
        "L, R, or empty",
    ),
}

LEFT_OUT = {"start": 0.0, "parcels": (), "parcel_hemispheres": ()}  # what an opened run need not say


class ReadsBold(Protocol):
    """One run of BOLD on the cortical surface, of which the header was read and checked.

    Attributes
    ----------
    path : the file
    volumes : number of TRs
    tr : repetition time, s; None if the file does not say: the JSON beside it, or the catalog, must then
    start : when the first volume begins by the scan's clock, s; volume k stands for start + (k + 1/2) tr. May
        be left out, and is 0 then.
    density : the mesh of both hemispheres, one of `simdata.surface.meshes.MESH_VERTICES`; None if several
        have as many vertices, and the file does not say which: the catalog must then
    vertices : "L" and "R" -> (rows,) whole numbers, the vertex of the mesh that a row of `cortices` stands
        for: each once, in any order. Those of the medial wall may be left out.
    stored_kind : of the file's own numbers: "f" for floats, "i" or "u" for whole ones, which chance repeats
    parcels, parcel_hemispheres : of a run of parcels alone, whose density is "parcels", and whose one side is
        called so: the names of its rows, and in which hemisphere each is, L, R, or "" if that is not known

    Examples
    --------
    A format of numpy's archives, registered as ``.npz = my_package:Npz`` (`simdata.bold.formats`):

    >>> class Npz:
    ...     density, stored_kind = "32k", "f"
    ...
    ...     def __init__(self, path):
    ...         self.path = path
    ...         with np.load(path) as file:
    ...             self.volumes, self.tr = int(file["volumes"]), float(file["tr"])
    ...             self.vertices = {"L": file["vertices_L"], "R": file["vertices_R"]}
    ...
    ...     def cortices(self):
    ...         with np.load(self.path) as file:
    ...             for hemisphere in ("L", "R"):
    ...                 yield hemisphere, file[f"bold_{hemisphere}"]
    """

    @property
    def path(self) -> Path: ...

    @property
    def volumes(self) -> int: ...

    @property
    def tr(self) -> float | None: ...

    @property
    def start(self) -> float: ...

    @property
    def density(self) -> str | None: ...

    @property
    def vertices(self) -> Mapping[str, np.ndarray]: ...

    @property
    def stored_kind(self) -> str: ...

    def cortices(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each hemisphere, "L" and "R", once, in the order in which they are read fastest.

        With it (rows, volumes) float32 in scanner units (scaled as the file says), C-contiguous, rows in the
        file's order, so that a hole in the file can be found. They may be a memory map. What has no data is
        NaN, or one value at all times. A worker's memory is reckoned for both hemispheres at once and no
        more: a hemisphere is made when it is asked for, and let go afterwards. It is asked for in another
        thread than that which opened the run.

        Raises
        ------
        UserError
            If the file turns out to be damaged: which, where, what to do.
        """
        ...


@dataclass(frozen=True)
class Stated:
    """What else says of a run whose files do not: its TR, s, and the mesh that it is on."""

    tr: float | None = None
    mesh: str | None = None

    def completed(self, path: Path, header: dict[str, Any]) -> dict[str, Any]:
        """A header with what it lacks.

        Raises
        ------
        UserError
            If this lacks it too, or says another mesh than the header.
        """
        return header | {
            "tr": self._tr(path, header["tr"]),
            "density": self._density(path, header["density"]),
        }

    def _tr(self, path: Path, said: float | None) -> float:
        if said is None and self.tr is None:
            raise UserError(f"{path}: does not say its TR, nor does a .json beside it; give the catalog's tr")
        return self.tr if said is None else said  # type: ignore[return-value]

    def _density(self, path: Path, said: str | None) -> str:
        if said is None and self.mesh is None:
            raise UserError(
                f"{path}: is on fs_LR 164k or on fsaverage7, which have 163,842 vertices both; its name has "
                "neither space-fsLR nor space-fsaverage: give the catalog's mesh, 164k or fsaverage7"
            )
        if None not in (said, self.mesh) and said != self.mesh:
            raise UserError(f"{path}: is on {said}, and the catalog's mesh is {self.mesh}")
        return said or self.mesh  # type: ignore[return-value]


@dataclass(frozen=True)
class CheckedRun:
    """A run as `ReadsBold` says, or a UserError that names the file and the format.

    Attributes
    ----------
    path, volumes, tr, start, density, vertices, stored_kind, parcels : as `ReadsBold` has them
    """

    path: Path
    volumes: int
    tr: float
    start: float
    density: str
    vertices: Mapping[str, np.ndarray]
    stored_kind: str
    parcels: tuple[str, ...]
    parcel_hemispheres: tuple[str, ...]
    _run: ReadsBold
    _format: str

    @classmethod
    def of(
        cls, path: Path, opener: Callable[[Path], ReadsBold], format_name: str, stated: Stated
    ) -> CheckedRun:
        """Open a file by a format, called ``format_name`` in messages."""
        with _of_format(path, format_name):
            run = opener(path)
            # Each is asked for once, so that what is used is what was checked.
            header: dict[str, Any] = {name: getattr(run, name, LEFT_OUT.get(name)) for name in HEADER}
            header = stated.completed(path, header)
            if fault := next(_header_faults(header), None):
                raise _fault(path, format_name, fault)
            return cls(
                path,
                int(header["volumes"]),
                float(header["tr"]),
                float(header["start"]),
                header["density"],
                {side: np.array(rows, np.int64) for side, rows in header["vertices"].items()},
                header["stored_kind"],
                header["parcels"],
                header["parcel_hemispheres"],
                run,
                format_name,
            )

    def cortices(self) -> Iterator[tuple[str, np.ndarray]]:
        """As `ReadsBold.cortices`."""
        left = set(self.vertices)
        with _of_format(self.path, self._format):
            for hemisphere, values in self._run.cortices():
                if fault := self._fault_of(hemisphere, values, left):
                    raise _fault(self.path, self._format, fault)
                left.remove(hemisphere)
                yield hemisphere, values
        if left:
            raise _fault(self.path, self._format, f"no values of {' and '.join(sorted(left))}")

    def _fault_of(self, hemisphere: str, values: np.ndarray, left: set[str]) -> str | None:
        if hemisphere not in left:
            return f"hemisphere {hemisphere!r:.20}, which is none, or came before; L and R are needed, once"
        shape = len(self.vertices[hemisphere]), self.volumes
        if not isinstance(values, np.ndarray) or (values.dtype, values.shape) != (np.float32, shape):
            return f"values of {hemisphere} as {_described(values)}; float32 of shape {shape} is needed"
        if not values.flags.c_contiguous:
            return f"values of {hemisphere} that are not C-contiguous; a row's must lie side by side"
        return None


def _header_faults(header: Mapping[str, Any]) -> Iterator[str]:
    """What is not as `ReadsBold` says; what comes after the first may follow from it."""
    for name, (holds, wanted) in HEADER.items():
        if not holds(value := header[name]):
            yield f"{name} {value!r:.60}; {wanted} is needed"
    named = len(header["parcels"])
    if named != len(header["parcel_hemispheres"]) or bool(named) != (header["density"] == PARCELS):
        density = header["density"]
        yield f"{named} names of parcels with a density of {density}; runs of parcels alone have them"
    for hemisphere, rows in header["vertices"].items():
        yield from _vertex_faults(rows, hemisphere, header["density"], named)


def _are_names(names: object) -> bool:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        return False
    return len(set(names)) == len(names)


def _vertex_faults(vertices: np.ndarray, hemisphere: str, density: str, parcels: int) -> Iterator[str]:
    numbers = isinstance(vertices, np.ndarray) and vertices.dtype.kind in "iu"
    if not numbers or vertices.ndim != 1 or not vertices.size:
        needed = "whole numbers of shape (rows,), at least one, are needed"
        yield f"vertices of {hemisphere} as {_described(vertices)}; {needed}"
    of_mesh = parcels if density == PARCELS else MESH_VERTICES[density]
    if (beyond := (vertices < 0) | (vertices >= of_mesh)).any():
        yield f"vertex {vertices[beyond][0]} of {hemisphere}; the {density} mesh has {of_mesh:,}, from 0"
    times = np.bincount(vertices.astype(np.int64))
    if times.max() > 1:
        yield f"vertex {times.argmax()} of {hemisphere} twice; a row of its own is needed for each"


def _described(values: object) -> str:
    if isinstance(values, np.ndarray):
        return f"{values.dtype.str if not values.dtype.isnative else values.dtype} of shape {values.shape}"
    return type(values).__name__


def _fault(path: Path, format_name: str, what: str) -> UserError:
    return UserError(f"{path}: BOLD format {format_name} gives {what}")


@contextmanager
def _of_format(path: Path, format_name: str) -> Iterator[None]:
    """Whatever a format raises, unless a UserError, becomes one: of the file, or of who reads it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = f"BOLD format {format_name} cannot read it ({in_words(error)})"
        raise UserError(f"{path}: {said}; is it whole? Get it again") from error
