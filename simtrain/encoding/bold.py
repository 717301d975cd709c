"""BOLD of rows, z-scored over the usable rows of each run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simdata.store import BoldReader
from simtrain.baselines.courses import read_run, zscore
from simtrain.data.dataset import Dataset


def read_rows(
    dataset: Dataset, subject: int, side: int, lag: int, sets: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """For each of ``sets`` of rows (n,) ROW, (n, vertices of the cortex) float32.

    Each run is read once, for all sets.
    """
    reader, cortex = BoldReader(dataset.path), dataset.cortex[side]
    found = [np.empty((len(rows), cortex.sum()), np.float32) for rows in sets]
    for movie in np.unique(np.concatenate([rows["movie"] for rows in sets])):
        volumes = int(dataset.volumes[movie])
        run = read_run(reader, subject, int(movie), side, volumes)[:, cortex]
        run = zscore(run, dataset.run[subject, movie, :volumes] > 0)
        for rows, bold in zip(sets, found, strict=True):
            own = rows["movie"] == movie
            bold[own] = run[rows["clip"][own] + lag]
    return found
