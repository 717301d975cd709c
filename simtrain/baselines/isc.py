"""Inter-subject correlation: how far subjects agree with each other while they watch the same film.

By vertex, of each subject with the mean of the others (Hasson et al., Science 2004; leave-one-out as in
Nastase et al., SCAN 2019, doi:10.1093/scan/nsz037).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from simdata.common.attributes import flat
from simdata.store import BoldReader
from simdata.store.schema import quiet_zarr
from simtrain.baselines.courses import read_run
from simtrain.data.dataset import Dataset
from simtrain.data.windows import BOTH, TEST, TRAIN

SETS = ("train", "test", "all")  # of subjects
QUANTILES = (0.5, 0.9, 0.99)


def isc(
    dataset: Dataset, groups: Sequence[np.ndarray], movie: int, hemisphere: int, seconds: np.ndarray
) -> np.ndarray:
    """(groups, vertices) float32: mean over subjects of the correlation of each with the mean of the others.

    Every subject's course is z-scored over ``seconds`` before it enters a mean, or over those of them that
    the subject has usable BOLD of; these alone are compared then. Two passes over the runs, of which one is
    in memory at a time, beside a sum of each group. A subject whose run does not vary in a vertex, or has no
    data there, is left out of that vertex. NaN outside the cortex, and with fewer than two subjects.

    Parameters
    ----------
    groups : of each, the positions of those whose run of ``movie`` is complete
    seconds : volumes of the run to compare
    """
    reader, cortex = BoldReader(dataset.path), np.flatnonzero(dataset.cortex[hemisphere])
    members = {
        subject: [subject in group for group in groups] for subject in np.unique(np.concatenate(groups))
    }

    def course(subject: int) -> tuple[np.ndarray, np.ndarray]:
        """(seconds, cortical vertices) of mean 0 and length 1, so that products are correlations; else 0.

        And (seconds,) bool, which of them the subject has.
        """
        run = read_run(reader, subject, movie, hemisphere, int(dataset.volumes[movie]))
        there = dataset.run[subject, movie, seconds] > 0
        if there.all():
            return _unit(run[seconds[:, None], cortex]), there
        own = np.zeros((len(seconds), len(cortex)), np.float32)
        if there.any():
            own[there] = _unit(run[seconds[there][:, None], cortex])
        return own, there

    total = np.zeros((len(groups), len(seconds), len(cortex)), np.float32)
    for subject, within in members.items():
        total[within] += course(subject)[0]
    power = np.square(total).sum(axis=1)
    correlation, counted = np.zeros((2, len(groups), len(cortex)))
    for subject, within in members.items():
        own, there = course(subject)
        varies, with_total = own.any(axis=0), (own * total[within]).sum(axis=1)
        if there.all():
            # The others' sum is total - own, and own has length 1.
            spread = power[within] - 2 * with_total + 1
        else:
            others = (total[within] - own)[:, there]
            spread = np.square(others - others.mean(axis=1, keepdims=True)).sum(axis=1)
        of_subject = (with_total - 1) / np.sqrt(np.maximum(spread, 1e-12))
        correlation[within] += np.where(varies, of_subject, 0)
        counted[within] += varies
    result = np.full((len(groups), dataset.cortex.shape[1]), np.nan, np.float32)
    result[:, cortex] = correlation / np.where(counted > 1, counted, np.nan)
    return result


def film_seconds(dataset: Dataset, movie: int, lag: int) -> np.ndarray:
    """Volumes of a run that follow a scene of any set by ``lag`` s: no rest, no test-retest clip."""
    seconds = np.flatnonzero(dataset.sets[movie]) + lag
    return seconds[seconds < dataset.volumes[movie]]


def isc_maps(dataset: Dataset, lag: int, hemispheres: Sequence[int] = BOTH) -> xr.Dataset:
    """`isc` of every set of subjects, (subject_set, movie, hemisphere, vertex), and its mean over movies.

    It is NaN in hemispheres that are not asked for, by their positions. Of parcels it is (subject_set, movie,
    parcel).
    """
    movies = len(dataset.volumes)
    maps = np.full((len(SETS), movies, *dataset.cortex.shape), np.nan, np.float32)
    counts = np.zeros((len(SETS), movies), np.int32)
    for movie in range(movies):
        watched = [np.flatnonzero(_in_set(dataset, name) & dataset.complete[:, movie]) for name in SETS]
        counts[:, movie] = [len(subjects) for subjects in watched]
        seconds = film_seconds(dataset, movie, lag)
        for hemisphere in hemispheres:
            maps[:, movie, hemisphere] = isc(dataset, watched, movie, hemisphere, seconds)
    return _as_dataset(dataset, lag, maps, counts)


def summary(maps: xr.Dataset) -> dict[str, dict[str, float]]:
    """For each set of subjects, quantiles over cortical vertices of the mean over movies."""
    figures = {}
    for name in maps.subject_set.values.tolist():
        values = maps.isc_mean.sel(subject_set=name).values
        values = values[~np.isnan(values)]
        if len(values):
            quantiles = np.quantile(values, QUANTILES).tolist()
            figures[name] = {f"q{100 * q:g}": v for q, v in zip(QUANTILES, quantiles, strict=True)}
            figures[name] |= {"mean": float(values.mean()), "max": float(values.max())}
    return figures


def write_maps(maps: xr.Dataset, path: Path) -> None:
    """Replace ``path`` by a Zarr store of the maps."""
    temporary = path.with_name(f".{path.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    with quiet_zarr():
        maps.to_zarr(temporary, zarr_format=3, consolidated=True)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)


def _in_set(dataset: Dataset, name: str) -> np.ndarray:
    if name == "all":
        return dataset.subject_split > 0
    return dataset.subject_split == {"train": TRAIN, "test": TEST}[name]


def _unit(course: np.ndarray) -> np.ndarray:
    """Mean 0 and length 1 over the first axis; 0 where it is constant."""
    centred = course - course.mean(axis=0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    return centred / np.where(length > 0, length, 1)


def _as_dataset(dataset: Dataset, lag: int, maps: np.ndarray, counts: np.ndarray) -> xr.Dataset:
    places = dataset.view.cortex.dims
    labelled = [name for name in ("movie", *places) if name in dataset.view.coords]
    names = {name: dataset.view[name].values.astype(object) for name in labelled}
    axes = ("subject_set", "movie", *places)
    maps = maps.reshape(*maps.shape[:2], *dataset.view.cortex.shape)
    known = ~np.isnan(maps)
    mean = np.where(known, maps, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    text = "leave-one-out inter-subject correlation, mean over subjects"
    variables = {
        "isc": xr.Variable(axes, maps, {"long_name": text, "units": "1"}),
        "isc_mean": xr.Variable(
            (axes[0], *axes[2:]),
            mean.astype(np.float32),
            {"long_name": f"{text} and then over movies", "units": "1"},
        ),
        "subjects": xr.Variable(axes[:2], counts, {"long_name": "subjects with this run", "units": "1"}),
    }
    coords = {name: xr.Variable(name, values) for name, values in names.items()}
    coords["subject_set"] = xr.Variable("subject_set", np.array(SETS, object))
    comment = f"over the seconds that follow the film's scenes by {lag} s; no rest, no test-retest clip"
    attributes = {"Conventions": "CF-1.11", "comment": comment, "store": dataset.identity}
    return xr.Dataset(variables, coords, flat(attributes))
