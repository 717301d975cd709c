"""Time courses of patches: the cortex reduced to a few hundred features that every subject shares.

The mean over the vertices of a face of a coarse icosphere needs no fitting, so nothing of the test set can
leak into it; it keeps where a signal is, and smooths over what surface registration leaves of individual
anatomy. With 320 faces a hemisphere, a design of five delays has 3,200 columns, against 409,620 of vertices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from simdata.common.remembered import remembering
from simdata.store import BoldReader
from simdata.store.encoding import INT8_FILL
from simtrain.data.dataset import Dataset
from simtrain.data.scan_rows import ScanEnds
from simtrain.data.windows import BOTH

KEPT = 2**31  # bytes of time courses held in memory: 1.6 GB are those of the whole HCP release


class Courses:
    """The patches' time courses of runs, read from a store when they are asked for.

    Parameters
    ----------
    ico : patches are the faces of this icosphere; of parcels each is a patch
    hemispheres : positions of those whose patches to take

    Attributes
    ----------
    features : number of patches with cortex in them, L and then R
    ends : of the runs' scans
    """

    def __init__(self, dataset: Dataset, ico: int, hemispheres: Sequence[int] = BOTH) -> None:
        self._reader, self._volumes, self._rows = BoldReader(dataset.path), dataset.volumes, dataset.run
        self.ends = ScanEnds(dataset)
        self._averages = {side: _averages(dataset.cortex[side], dataset.patches(ico)) for side in hemispheres}
        self.features = sum(average.shape[0] for average in self._averages.values())
        one_run = 4 * self.features * int(max(self._volumes))
        self._remembered = remembering(self._run, max(1, KEPT // one_run))

    def run(self, subject: int, movie: int) -> np.ndarray:
        """(volumes, features) float32: patches with mean 0 and s.d. 1 (ddof 0) over the run's usable rows."""
        return self._remembered(subject, movie)

    def _run(self, subject: int, movie: int) -> np.ndarray:
        volumes = int(self._volumes[movie])
        courses = [
            (average @ read_run(self._reader, subject, movie, hemisphere, volumes).T).T
            for hemisphere, average in self._averages.items()
        ]
        return zscore(np.concatenate(courses, axis=1), self._rows[subject, movie, :volumes] > 0)


def read_run(reader: BoldReader, subject: int, movie: int, hemisphere: int, volumes: int) -> np.ndarray:
    """(volumes, vertices) float32 of one run, not scaled; 0, its mean, all along a vertex without data."""
    run = reader.read(np.array([[subject, movie, 0, hemisphere]]), volumes)[0]
    missing = np.isnan(run) if run.dtype.kind == "f" else run == INT8_FILL
    return np.where(missing, 0, run).astype(np.float32)


def by_run(windows: np.ndarray, *also: str) -> list[np.ndarray]:
    """Positions of the windows of each subject and movie, and of each value of the fields ``also``."""
    _, run = np.unique(windows[["subject", "movie", *also]], return_inverse=True)
    order = np.argsort(run, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(run[order])) + 1) if len(order) else []


def zscore(course: np.ndarray, usable: np.ndarray | None = None) -> np.ndarray:
    """Mean 0 and s.d. 1 (ddof 0) over the first axis; what is constant becomes 0.

    Parameters
    ----------
    usable : (rows,) bool, which of the first axis count, if not all do; the others become 0
    """
    if usable is not None and not usable.all():
        scored = np.zeros_like(course)
        scored[usable] = zscore(course[usable]) if usable.any() else 0
        return scored
    centred = course - course.mean(axis=0)
    deviation = centred.std(axis=0)
    return centred / np.where(deviation > 0, deviation, 1)


def _averages(cortex: np.ndarray, patches: np.ndarray) -> csr_array:
    """(patches with cortex in them, vertices): the weights of a mean over the cortex of each patch."""
    inside = cortex[patches]
    patch, _ = np.nonzero(inside)
    weights = 1 / inside.sum(axis=1)[patch]
    every = csr_array(
        (weights.astype(np.float32), (patch, patches[inside])), shape=(len(patches), len(cortex))
    )
    return every[inside.any(axis=1)]
