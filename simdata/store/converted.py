"""What a store takes: a run and a film that are converted, and what is left to publish of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from simdata.store.metadata import Metadata


@dataclass(frozen=True)
class ConvertedRun:
    """What is left to publish once the shards of a run lie in ``shards`` (a path per hemisphere).

    Attributes
    ----------
    mean, std : (hemisphere, vertex) float32, or (1, parcel), NaN where the run has no data, scanner units
    cortex : of the same shape, bool, where it has
    run : (second,) int16, up to the last second that has a row: k > 0, the row is of the k-th scan; 0, there
        is none; -k, it is of scan k and was scrubbed
    reach : s; rows of one scan that are less apart share volumes, 0 if none do
    provenance : the source's path, size, mtime, hash and mesh; the share of values that were clipped;
        ``coverage``, the vertices with data of each hemisphere; how many of the source's never vary
        (``constant_vertices``) or have NaN or infinity (``nan_vertices``), and so have none
    """

    shards: list[Path]
    mean: np.ndarray
    std: np.ndarray
    cortex: np.ndarray
    run: np.ndarray
    reach: int
    provenance: dict[str, Any]


@dataclass(frozen=True)
class ConvertedFilm:
    """What is left to publish when a film's arrays are written below ``folder``.

    ``arrays`` names them, ``duration`` is the film's length (s), ``provenance`` the record of its source.
    """

    folder: Path
    arrays: list[str]
    duration: float
    provenance: dict[str, Any]


def film_arrays(group: zarr.Group) -> list[str]:
    """Names of the arrays that `simdata build` makes of a film."""
    shown = [name for name in ("frame", "waveform") if name in group]
    return [*shown, *Metadata.of(group, group.store_path.path).recipe["encoders"]]


def stored_modalities(group: zarr.Group) -> tuple[str, ...]:
    """What a store takes of its films: of ``video``, ``audio`` and ``text``."""
    found = tuple(name for name, array in (("video", "frame"), ("audio", "waveform")) if array in group)
    made = Metadata.of(group, group.store_path.path).recipe["encoders"].values()
    return (*found, *(("text",) if any(encoder.get("takes") == "text" for encoder in made) else ()))
