"""The lag between stimulus and BOLD, varied at every turn of a sample (``data.lag_jitter``)."""

from __future__ import annotations

import numpy as np

from simdata.common.errors import UserError
from simtrain.config.resolved import ResolvedData
from simtrain.data.windows import by_hemisphere


def must_follow_the_stimulus(data: ResolvedData) -> None:
    """Refuse a jitter with which BOLD would come before the stimulus that it answers.

    Raises
    ------
    UserError
        If the jitter is larger than the lag.
    """
    if data.lag_jitter > data.lag:
        raise UserError(
            f"data.lag_jitter: {data.lag_jitter} s is more than the lag of {data.lag} s (data.lag): BOLD "
            "would come before its stimulus"
        )


def with_room(windows: np.ndarray, jitter: int) -> np.ndarray:
    """Of ``windows`` (WINDOW), those whose BOLD may move by ``jitter`` s and still be that of one of them.

    So no jitter leads out of a run, nor into BOLD that answers rest or a held-out scene.
    """
    if not jitter or not len(windows):
        return windows
    length = int(windows["second"].max()) + 2 * jitter + 1
    run = windows["subject"].astype(np.int64) * (int(windows["movie"].max()) + 1) + windows["movie"]
    place = run * length + windows["second"] + jitter
    shifts = (shift for shift in range(-jitter, jitter + 1) if shift)
    return windows[np.logical_and.reduce([np.isin(place + shift, place) for shift in shifts])]


def training_samples(windows: np.ndarray, data: ResolvedData) -> np.ndarray:
    """(n,) SAMPLE: training windows (WINDOW) with room for the jitter, in every hemisphere in use.

    Raises
    ------
    UserError
        As `must_follow_the_stimulus`.
    """
    must_follow_the_stimulus(data)
    return by_hemisphere(with_room(windows, data.lag_jitter), data.sides)


def jittered(samples: np.ndarray, jitter: int, seed: int, epoch: int) -> np.ndarray:
    """The samples with their BOLD moved by -jitter ... jitter s, all as likely; their clips stay.

    How far one moves depends on nothing but seed, epoch and its place in ``samples``.
    """
    if not jitter:
        return samples
    # Jumped: the draws must be others than those of the epoch's order, which has the same key.
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]).jumped())
    moved = samples.copy()
    moved["second"] += rng.integers(-jitter, jitter + 1, len(samples), dtype=moved["second"].dtype)
    return moved
