"""The store's thumbnails of the films."""

from __future__ import annotations

import numpy as np

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset


def read_frames(dataset: Dataset, movie: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, y, x, 3) uint8: the thumbnails of these seconds.

    Raises
    ------
    UserError
        If the store has none.
    """
    store = dataset.view
    if "frame" not in store:
        raise UserError(f"{dataset.path} has no thumbnails (frame): build it anew with `simdata build`")
    frames = np.empty((len(movie), *store.frame.shape[2:4], 3), np.uint8)
    for one in np.unique(movie):
        rows = movie == one
        frames[rows] = store.frame.isel(movie=int(one)).values[second[rows]]
    return frames


def describe_frames(dataset: Dataset) -> str:
    """What the store says that its thumbnails show."""
    return dataset.view.frame.attrs.get("long_name", "")
