"""What is left of BOLD that was sampled at a TR and brought to 1 Hz: its correlation with the truth.

A film drives random events that last .5 to 6 s; BOLD is their convolution with the double gamma function of
SPM (Friston et al. 1998), known every .05 s. A scanner samples it in the middle of each volume. Rows of a
store, at s + 1/2, are made of the volumes in several ways, and compared with BOLD itself at those times;
without noise, and with white noise of the signal's size, of which less is left where more volumes meet in a
row.

    python scripts/measure_clock.py --out clock.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.stats import gamma

from simdata.bold.clock import Timing
from simdata.common import json_text
from simdata.release.sources import Play

STEP = 0.05  # s
TRS = (0.46, 0.8, 1.49, 2.0, 2.47)
VOXELS = 200
ONSET = 7.3  # s, of the film in the scan
WAYS = {
    "cubic": "cubic convolution, as simdata does it",
    "linear": "linear",
    "spline": "cubic spline through all volumes",
    "pchip": "PCHIP",
    "nearest": "the nearest volume",
    "early": "cubic convolution, volumes taken at k TR instead of (k + 1/2) TR",
}


def response() -> np.ndarray:
    """The double gamma function, every STEP."""
    time = np.arange(0, 32, STEP)
    return gamma.pdf(time, 6) - gamma.pdf(time, 16) / 6


def bold(seconds: int, rng: np.random.Generator) -> np.ndarray:
    """(steps, voxels) at multiples of STEP by the scan's clock; of unit variance."""
    steps = int(seconds / STEP)
    events = np.zeros((steps, VOXELS))
    for voxel in range(VOXELS):
        start = 0.0
        while start < seconds:
            stop = start + rng.uniform(0.5, 6)
            events[int(start / STEP) : int(stop / STEP), voxel] = 1
            start = stop + rng.exponential(8)
    found = np.apply_along_axis(np.convolve, 0, events, response())[:steps]
    return (found - found.mean(axis=0)) / found.std(axis=0)


def at(series: np.ndarray, times: np.ndarray) -> np.ndarray:
    """BOLD between its steps, where a line is as good as anything."""
    place = times / STEP
    below = place.astype(int)
    part = (place - below)[:, None]
    return series[below] * (1 - part) + series[below + 1] * part


def made(way: str, volumes: np.ndarray, tr: float, timing: Timing, times: np.ndarray) -> np.ndarray:
    """Rows of these volumes, (volumes, voxels)."""
    middles = (np.arange(len(volumes)) + 0.5) * tr
    if way == "cubic":
        return timing.band.apply(volumes)
    if way == "early":
        early = Timing.of(len(volumes), tr, -tr / 2, [Play(ONSET)], int(times[-1] - ONSET) + 1)
        same = np.searchsorted(early.rows, timing.rows)  # but for the last, which are not compared
        return early.band.apply(volumes)[np.minimum(same, len(early.rows) - 1)]
    if way == "linear":
        return np.array([np.interp(times, middles, one) for one in volumes.T]).T
    if way == "nearest":
        return volumes[np.rint(times / tr - 0.5).astype(int)]
    return {"spline": CubicSpline, "pchip": PchipInterpolator}[way](middles, volumes)(times)


def correlation(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over voxels."""
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, truth.T, strict=True)]))


def measure(tr: float, seconds: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    series = bold(seconds, rng)
    count = int(seconds / tr) - 1
    clean = at(series, (np.arange(count) + 0.5) * tr)
    noisy = clean + rng.standard_normal(clean.shape)
    timing = Timing.of(count, tr, 0.0, [Play(ONSET)], seconds)
    inner = slice(4, -4)  # where all ways have volumes
    times = timing.rows + 0.5 + ONSET
    truth = at(series, times)
    return {
        way: {
            "without noise": correlation(made(way, clean, tr, timing, times)[inner], truth[inner]),
            "with noise": correlation(made(way, noisy, tr, timing, times)[inner], truth[inner]),
        }
        for way in WAYS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=900, help="Length of a scan.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    results = {f"{tr:g}": measure(tr, options.seconds, rng) for tr in TRS}
    for noise in ("without noise", "with noise"):
        print(f"\n{noise}\n\n| TR, s | {' | '.join(WAYS)} |\n| --- |{' --- |' * len(WAYS)}")
        for tr, of_ways in results.items():
            print(f"| {tr} | {' | '.join(f'{of_ways[way][noise]:.3f}' for way in WAYS)} |")
    if options.out:
        json_text.write(options.out, {"ways": WAYS, "correlations": results, "seed": options.seed})


if __name__ == "__main__":
    main()
