"""How often 95 % intervals of retrieval cover the truth, by numbers of subjects and film clips, as markdown.

    python scripts/coverage_of_intervals.py --studies 1000

A study has so many subjects, who see the same film clips, and 20 windows of each subject in each clip. How
likely a window is retrieved is, on the logit scale, a mean, and what is a subject's, a clip's, and of that
subject in that clip, drawn from normal distributions; the truth is its mean over all subjects and clips that
there could be. Beside `simtrain.retrieval.intervals` stand two bootstraps, by percentiles of 500 resamples:
of subjects, what simtrain had before, and of subjects and clips, each by itself (Owen 2007, Ann. Appl. Stat.
1).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from simtrain.retrieval.intervals import Crossed, Interval

WINDOWS, RESAMPLES = 20, 500
SIZES = ((2, 8), (5, 5), (8, 5), (8, 8), (8, 18), (17, 18), (26, 8), (26, 18))


@dataclass(frozen=True)
class Effects:
    """Standard deviations on the logit scale, and the mean."""

    subjects: float
    clips: float
    cells: float
    mean: float = -1.0

    @property
    def truth(self) -> float:
        """The mean over subjects and clips: Gauss-Hermite quadrature."""
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        spread = np.sqrt(self.subjects**2 + self.clips**2 + self.cells**2)
        return float(weights @ expit(self.mean + spread * points) / weights.sum())

    def study(self, rng: np.random.Generator, subjects: int, clips: int) -> np.ndarray:
        """(subjects, clips) shares of windows that are retrieved."""
        apart = rng.normal(0, self.subjects, (subjects, 1)) + rng.normal(0, self.clips, (1, clips))
        chance = expit(self.mean + apart + rng.normal(0, self.cells, (subjects, clips)))
        return np.asarray(rng.binomial(WINDOWS, chance) / WINDOWS)


EFFECTS = {
    "subjects and clips differ": Effects(0.6, 0.6, 0.4),
    "subjects differ": Effects(0.8, 0.0, 0.3),
    "clips differ": Effects(0.1, 0.9, 0.3),
    "near 1": Effects(0.6, 0.6, 0.4, mean=2.5),
    "neither differs": Effects(0.0, 0.0, 0.6),
}
Method = Callable[[np.random.Generator, np.ndarray], Interval | None]


def ours(rng: np.random.Generator, shares: np.ndarray) -> Interval | None:
    """What simtrain shows."""
    subject, clip = np.indices(shares.shape)
    return Crossed(subject, clip).mean(shares, (0, 1))


def of_subjects(rng: np.random.Generator, shares: np.ndarray) -> Interval:
    """Bootstrap of subjects."""
    return _percentiles(_times(rng, len(shares)) @ shares.mean(axis=1))


def of_both(rng: np.random.Generator, shares: np.ndarray) -> Interval:
    """Bootstrap of subjects and, each by itself, of clips."""
    subjects, clips = (_times(rng, size) for size in shares.shape)
    return _percentiles(((subjects @ shares) * clips).sum(axis=1))


METHODS: Mapping[str, Method] = {
    "bootstrap of subjects": of_subjects,
    "bootstrap of both": of_both,
    "simtrain": ours,
}


def covered(
    effects: Effects, subjects: int, clips: int, method: Method, studies: int, seed: int = 0
) -> float | None:
    """The share of studies whose interval has the truth; None if there is none."""
    rng, truth, hits = np.random.default_rng(seed), effects.truth, 0
    for _ in range(studies):
        interval = method(rng, effects.study(rng, subjects, clips))
        if interval is None:
            return None
        hits += interval.low <= truth <= interval.high
    return hits / studies


def table(studies: int) -> str:
    """Markdown: a row for each number of subjects and clips, a column for each kind of effects and method."""
    heads = [f"{effects}: {' / '.join(METHODS)}" for effects in EFFECTS]
    lines = [["subjects", "clips", *heads], ["---"] * (2 + len(heads))]
    for subjects, clips in SIZES:
        cells = [
            " / ".join(_shown(covered(effects, subjects, clips, one, studies)) for one in METHODS.values())
            for effects in EFFECTS.values()
        ]
        lines.append([str(subjects), str(clips), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _times(rng: np.random.Generator, count: int) -> np.ndarray:
    """(resamples, count) how often each was drawn, as a share of all draws."""
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count


def _percentiles(resampled: np.ndarray) -> Interval:
    return Interval(*map(float, np.percentile(resampled, [2.5, 97.5])))


def _shown(cover: float | None) -> str:
    return "none" if cover is None else f"{100 * cover:.0f}"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1000)
    print(table(parser.parse_args(words).studies))


if __name__ == "__main__":
    main()
