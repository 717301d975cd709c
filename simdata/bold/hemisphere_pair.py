"""A scan whose hemispheres are files of their own, volume after volume: GIFTI and MGH.

A hemisphere is read when it is asked for, a few volumes at a time, and laid down vertex by vertex: what is
in memory is its values as float32, and no second copy of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from simdata.bold.mesh_names import mesh_of
from simdata.common.errors import UserError
from simdata.surface.meshes import HEMISPHERES

VOLUMES_AT_ONCE = 16  # of float32: a cache line of each vertex
SAME_TR = 1e-6  # s
SIDE = re.compile(r"hemi-([LR])(?=[._])|(?:^|[._])([lr])h(?=[._])|\.([LR])(?=\.)")
NAMES = {"L": "left", "R": "right"}


class HemisphereSeries(Protocol):
    """One hemisphere of a scan, of which the header was read.

    Attributes
    ----------
    vertices : of the mesh; all have values, be they NaN
    tr : s; None if the file does not say
    side : "L" or "R", if the file says
    stored_kind : "f", "i" or "u"
    """

    @property
    def path(self) -> Path: ...

    @property
    def volumes(self) -> int: ...

    @property
    def vertices(self) -> int: ...

    @property
    def tr(self) -> float | None: ...

    @property
    def side(self) -> str | None: ...

    @property
    def stored_kind(self) -> str: ...

    def frames(self) -> Iterator[np.ndarray]:
        """Each volume, (vertices,) of any real type; a UserError if there are not as many as was said."""
        ...


@dataclass(frozen=True)
class HemispherePair:
    """Both hemispheres of a scan, as `simdata.bold.opened_run.ReadsBold` describes a run."""

    path: Path
    volumes: int
    tr: float | None
    density: str | None
    vertices: Mapping[str, np.ndarray]
    stored_kind: str
    _series: Mapping[str, HemisphereSeries]

    @classmethod
    def of(cls, left: HemisphereSeries, right: HemisphereSeries) -> HemispherePair:
        """Put two hemispheres together.

        Raises
        ------
        UserError
            If they are not the left and the right one of one scan on one mesh.
        """
        series = dict(zip(HEMISPHERES, (left, right), strict=True))
        for hemisphere, one in series.items():
            side = one.side or _side_by_name(one.path)
            if side not in (None, hemisphere):
                raise UserError(
                    f"{one.path}: is of the {NAMES[side]} hemisphere, and was found as the "
                    f"{NAMES[hemisphere]} one; {{hemisphere}} in the bold pattern stands for it"
                )
        _check_same(left, right, "volumes", f"{left.volumes:,}", f"{right.volumes:,}")
        _check_same(left, right, "vertices", f"{left.vertices:,}", f"{right.vertices:,}")
        if left.tr and right.tr and abs(left.tr - right.tr) > SAME_TR:
            raise _differ(left, right, f"a TR of {left.tr:g} s", f"{right.tr:g} s")
        return cls(
            left.path,
            left.volumes,
            left.tr or right.tr,
            _density(left, right),
            {hemisphere: np.arange(one.vertices) for hemisphere, one in series.items()},
            left.stored_kind,
            series,
        )

    def cortices(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each hemisphere with its (vertices, volumes) float32, read when it is asked for."""
        for hemisphere, series in self._series.items():
            yield hemisphere, _by_vertex(series)


def check_pair(left: Path, right: Path | None) -> Path:
    """The right hemisphere's file; a UserError if there is none."""
    if right is None:
        raise UserError(
            f"{left}: is one hemisphere, and a scan needs both: write {{hemisphere}} in the catalog's bold "
            "pattern where its name says L or R (lh or rh)"
        )
    return right


def _by_vertex(series: HemisphereSeries) -> np.ndarray:
    values = np.empty((series.vertices, series.volumes), np.float32)
    some = np.empty((VOLUMES_AT_ONCE, series.vertices), np.float32)
    count = 0
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as infinite
        for volume, frame in enumerate(series.frames()):
            count = volume % VOLUMES_AT_ONCE + 1
            some[count - 1] = frame
            if count == VOLUMES_AT_ONCE or volume == series.volumes - 1:
                values[:, volume + 1 - count : volume + 1] = some[:count].T
    return values


def _density(left: HemisphereSeries, right: HemisphereSeries) -> str | None:
    meshes = [mesh_of(one.path, one.vertices) for one in (left, right)]
    if meshes[0] != meshes[1]:
        raise _differ(left, right, f"a mesh called {meshes[0]}", f"{meshes[1]}")
    return meshes[0]


def _side_by_name(path: Path) -> str | None:
    """The hemisphere that a name says, as ``hemi-L``, ``lh.`` or ``.L.``, if it says one alone."""
    found = {(match[1] or match[2] or match[3]).upper() for match in SIDE.finditer(path.name)}
    return found.pop() if len(found) == 1 else None


def _check_same(left: HemisphereSeries, right: HemisphereSeries, what: str, one: str, other: str) -> None:
    if one != other:
        raise _differ(left, right, f"{one} {what}", other)


def _differ(left: HemisphereSeries, right: HemisphereSeries, one: str, other: str) -> UserError:
    return UserError(
        f"{left.path}: has {one}, and {right.path.name} {other}: they are not of one scan, or one is not "
        "whole"
    )
