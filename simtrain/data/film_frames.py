"""What the store has of the films themselves: thumbnails and sound."""

from __future__ import annotations

import numpy as np

from simdata.common.errors import UserError
from simdata.store.provenance import FILMS, film_record
from simtrain.data.dataset import Dataset

PICTURES, SOUND = "frame", "waveform"


def films_with(dataset: Dataset, modality: str) -> np.ndarray:
    """(movies,) bool: which films have pictures (``video``) or sound (``audio``), by the store's records.

    A film of which there is no record, or an older one that does not say it, has what the store has.
    """
    if {"video": PICTURES, "audio": SOUND}[modality] not in dataset.view:
        return np.zeros(len(dataset.movies), bool)
    if FILMS not in dataset.view:
        return np.ones(len(dataset.movies), bool)
    found = [film_record(dataset.view, movie) or {} for movie in dataset.movies]
    return np.array([modality in record.get("modalities", [modality]) for record in found])


def read_frames(dataset: Dataset, movie: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, y, x, 3) uint8: the thumbnails of these seconds.

    Raises
    ------
    UserError
        If the store has none.
    """
    store = dataset.view
    if PICTURES not in store:
        raise UserError(
            f"{dataset.path} has no thumbnails (frame): its films have no pictures, or it was built without; "
            "build it with `simdata build` from films that have some"
        )
    frames = np.empty((len(movie), *store.frame.shape[2:4], 3), np.uint8)
    for one in np.unique(movie):
        rows = movie == one
        frames[rows] = store.frame.isel(movie=int(one)).values[second[rows]]
    return frames


def read_sound(dataset: Dataset, movie: int, second: int, seconds: int) -> np.ndarray:
    """(samples,) int16: ``seconds`` s of a film that has sound."""
    found = dataset.view[SOUND].isel(movie=movie, second=slice(second, second + seconds))
    return found.values.reshape(-1)


def describe_frames(dataset: Dataset) -> str:
    """What the store says that its thumbnails show."""
    return dataset.view.frame.attrs.get("long_name", "")
