"""Whether a store can be used by position: xarray's selections are stores too, but not all of them can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import xarray as xr

from simdata.common.errors import UserError
from simdata.release.catalog import Catalog
from simdata.store.damage import check_readable
from simdata.store.layout import PARCEL
from simdata.surface.meshes import HEMISPHERES
from simdata.surface.resampling import ORDER

RUN = ("subject", "movie")
DIMENSIONS = {
    "bold": (*RUN, "second", "hemisphere", "vertex"),
    "run_status": RUN,
    "run_source": RUN,
    "film_source": ("movie",),
    "film_status": ("movie",),
    "film_duration": ("movie",),
    "segment": ("movie", "second"),
    "scene_split": ("movie", "second"),
    "cortex": ("hemisphere", "vertex"),
    "subject_split": ("subject",),
    "volumes": ("movie",),
}
OF_PARCELS = {"bold": (*RUN, "second", PARCEL), "cortex": (PARCEL,)}  # otherwise in a store of parcels
TRAINING = ("bold", "run_status", "segment", "scene_split", "cortex", "subject_split", "volumes")
VERTICES = 10 * 4**ORDER + 2


def is_of_parcels(dataset: xr.Dataset) -> bool:
    """Whether a store has parcels in place of hemispheres and vertices."""
    return "bold" in dataset and PARCEL in dataset.bold.dims


def check_variables(dataset: xr.Dataset, place: str | Path, names: Iterable[str] = DIMENSIONS) -> None:
    """Raise a UserError unless a store has variables of these names, by their own dimensions, to be read."""
    names = tuple(names)
    dimensions = DIMENSIONS | (OF_PARCELS if is_of_parcels(dataset) else {})
    for name in names:
        if name not in dataset:
            raise _selection(place, f"it has no variable {name!r}", "keep all variables")
        if dataset[name].dims != dimensions[name]:
            found = ", ".join(map(str, dataset[name].dims))
            raise _selection(
                place,
                f"its {name} is by ({found}), not by ({', '.join(dimensions[name])})",
                'select by lists or slices, as sel(subject=["1"])',
            )
    check_readable(dataset, place, names)


def check_axes(dataset: xr.Dataset, place: str | Path, names: Iterable[str] = TRAINING) -> None:
    """Raise a UserError unless positions along the axes of a store are what they are in one that was built.

    Subjects and movies may be any, in any order, and the seconds end early.
    """
    check_variables(dataset, place, names)
    of_parcels = is_of_parcels(dataset)
    for axis in (*RUN, *([PARCEL] if of_parcels else [])):
        label, times = Counter(dataset[axis].values.tolist()).most_common(1)[0]
        if times > 1:
            raise _selection(place, f"it has {axis} {label} {times} times", "take each once")
    _check_labels(dataset, place, "second", range(dataset.sizes["second"]), "take them from 0 on")
    if of_parcels:
        return
    _check_labels(dataset, place, "hemisphere", HEMISPHERES, "keep both, L first")
    if dataset.sizes["vertex"] != VERTICES:
        raise _selection(place, f"it has {dataset.sizes['vertex']} of {VERTICES} vertices", "keep all")


def check_whole_runs(dataset: xr.Dataset, place: str | Path) -> None:
    """Raise a UserError unless the seconds go on to the end of the longest run, too."""
    check_axes(dataset, place, DIMENSIONS)
    longest, seconds = int(dataset.volumes.max()), dataset.sizes["second"]
    if seconds < longest:
        raise _selection(place, f"it has {seconds} s of runs of {longest} s", "keep all seconds")


def check_movies(dataset: xr.Dataset, place: str | Path, catalog: Catalog) -> None:
    """Raise a UserError unless a store has the movies of a catalog."""
    found, wanted = dataset.movie.values.tolist(), [movie.name for movie in catalog.movies]
    if found != wanted:
        raise _selection(
            place, f"it has the movies {', '.join(found)}, its catalog has {', '.join(wanted)}", "keep all"
        )


def _check_labels(
    dataset: xr.Dataset, place: str | Path, axis: str, wanted: Sequence[int | str], advice: str
) -> None:
    found = dataset[axis].values.tolist()
    if found != list(wanted):
        shown = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
        raise _selection(place, f"its {axis} axis is {shown}", advice)


def _selection(place: str | Path, fault: str, advice: str) -> UserError:
    return UserError(f"{place}: is a part of a store that is not enough for this: {fault}; {advice}")
