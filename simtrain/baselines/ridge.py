"""Ridge regression from BOLD at several delays to the embedding of the clip (decoding).

The direction that retrieval needs: predicted embeddings are compared with those of the candidates. Each
target has a penalty of its own, by cross-validation over clips of the film (`simtrain.baselines.penalties`).

Ridge sees X only through X'X and X'Y. With X'X = V L V' in a fold, R = L^(1/2) V' and Z = L^(-1/2) V' X'Y
have R'R = X'X and R'Z = X'Y, and ||Z - R W||^2 differs from ||Y - X W||^2 by a constant. So R and Z of every
fold take the place of X and Y: the same solution and the same choice of penalties, in memory that does not
grow with the number of subjects. A fold with fewer rows than features stays as it is. And where all folds
together have fewer rows than features, the weights lie in the span of the rows: X is given by its coordinates
there, which changes no product of rows, and so neither predictions nor penalties.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.baselines.courses import Courses, by_run
from simtrain.baselines.penalties import PENALTIES, Held, best_penalties, solved
from simtrain.baselines.targets import Targets

FOLDS = 5
NEGLIGIBLE = 1e-12  # share of the largest eigenvalue


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of a fold, in float64: all that ridge needs to know of them."""

    count: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Moments:
        """Sums of rows ``x`` (n, features) and ``y`` (n, targets)."""
        x, y = x.astype(np.float64), y.astype(np.float64)
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    def centred(self, x_mean: np.ndarray, y_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """X'X and X'Y of the rows less these means."""
        xx = self.xx - np.outer(self.x, x_mean) - np.outer(x_mean, self.x - self.count * x_mean)
        xy = self.xy - np.outer(self.x, y_mean) - np.outer(x_mean, self.y - self.count * y_mean)
        return xx, xy


@dataclass(frozen=True)
class Sums:
    """Number of rows, and the sums of X and of Y over them."""

    count: int
    x: np.ndarray
    y: np.ndarray

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.count + other.count, self.x + other.x, self.y + other.y)


class Fold:
    """The rows of X and Y in one fold: kept until there are more than features, then as their moments."""

    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._moments: Moments | None = None

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Rows ``x`` (n, features) and ``y`` (n, targets)."""
        self._rows.append((x, y))
        if sum(len(x) for x, _ in self._rows) > x.shape[1]:
            self._moments, self._rows = self._all_moments(), []

    def sums(self) -> Sums:
        """Over all rows so far."""
        parts = [Sums(len(x), x.sum(axis=0, dtype=float), y.sum(axis=0, dtype=float)) for x, y in self._rows]
        if self._moments is not None:
            parts.append(Sums(self._moments.count, self._moments.x, self._moments.y))
        return reduce(add, parts)

    def compact(self, x_mean: np.ndarray, y_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R and Z of the rows less these means, or the rows themselves."""
        if self._moments is not None:
            moments = self._all_moments() if self._rows else self._moments
            return _compact(*moments.centred(x_mean, y_mean))
        x, y = (np.concatenate(part) for part in zip(*self._rows, strict=True))
        return x - x_mean, y - y_mean

    def _all_moments(self) -> Moments:
        pending = Moments.of(*(np.concatenate(part) for part in zip(*self._rows, strict=True)))
        return pending if self._moments is None else self._moments + pending


@dataclass(frozen=True)
class Ridge:
    """A fitted regression.

    Attributes
    ----------
    weights : (features, targets) float64
    x_mean, y_mean : means over the training rows, which the intercept comes from
    penalty : (targets,) in units of the mean eigenvalue of X'X
    delays : (delays,) int, s from the first volume of a window
    columns : where the targets of each modality are
    """

    weights: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    penalty: np.ndarray
    delays: np.ndarray
    columns: dict[str, slice]

    @property
    def features(self) -> int:
        """Columns of X."""
        return len(self.x_mean)

    def predict(self, courses: Courses, windows: np.ndarray, modality: str) -> np.ndarray:
        """(n, targets of the modality) float32: the predicted embedding of every window's clip."""
        columns = self.columns[modality]
        predicted = np.empty((len(windows), columns.stop - columns.start), np.float32)
        for rows in by_run(windows):
            design = _design(courses, windows, rows, self.delays)
            predicted[rows] = (design - self.x_mean) @ self.weights[:, columns] + self.y_mean[columns]
        return predicted

    def save(self, path: Path) -> None:
        """Write NumPy's .npz; the columns of a modality as ``columns_<modality>`` (start, stop)."""
        columns = {f"columns_{name}": np.array([c.start, c.stop]) for name, c in self.columns.items()}
        arrays = {name: getattr(self, name) for name in ("weights", "x_mean", "y_mean", "penalty", "delays")}
        np.savez(path, allow_pickle=False, **arrays, **columns)


def fit_ridge(
    courses: Courses,
    windows: np.ndarray,
    fold: np.ndarray,
    targets: Targets,
    delays: np.ndarray,
    device: torch.device,
) -> Ridge:
    """Fit on training windows; the penalties by cross-validation over the folds.

    Parameters
    ----------
    fold : (n,) int, which fold each window is in
    delays : s from the first volume of a window
    """
    folds = {number: Fold() for number in np.unique(fold).tolist()}
    for rows in by_run(windows):
        for number in np.unique(fold[rows]).tolist():
            of_fold = rows[fold[rows] == number]
            x = _design(courses, windows, of_fold, delays)
            y = targets.of(windows["movie"][of_fold], windows["clip"][of_fold])
            folds[number].add(x, y)
    return Ridge(*solve(list(folds.values()), device), delays, targets.columns)


def _design(courses: Courses, windows: np.ndarray, rows: np.ndarray, delays: np.ndarray) -> np.ndarray:
    """(n, delays * features) of windows of one run: its course at every second + delay, delay by delay."""
    run = _run_of(windows, rows)
    at = courses.ends.within(*run, windows["second"][rows], delays)
    return courses.run(*run)[at].reshape(len(rows), -1)


def solve(folds: list[Fold], device: torch.device) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means of X and Y, and the penalty of each target, as in `Ridge`."""
    total = reduce(add, (fold.sums() for fold in folds))
    x_mean, y_mean = total.x / total.count, total.y / total.count
    compact = [fold.compact(x_mean, y_mean) for fold in folds]
    unit = sum(np.square(x).sum() for x, _ in compact) / len(x_mean)
    if not 0 < unit < np.inf:
        raise UserError("ridge: the BOLD of the training windows is not finite, or the same in all of them")
    axes = _span([x for x, _ in compact])
    if axes is not None:
        compact = [(x @ axes, y) for x, y in compact]
    rows = [tuple(torch.from_numpy(part).to(device, torch.float64) for part in parts) for parts in compact]
    products = [(x.T @ x, x.T @ y) for x, y in rows]
    xx, xy = (reduce(add, of_folds) for of_folds in zip(*products, strict=True))
    held_out = (
        Held(xx - own_xx, xy - own_xy, x, y) for (own_xx, own_xy), (x, y) in zip(products, rows, strict=True)
    )
    penalty = best_penalties(held_out, PENALTIES * unit)
    weights = solved(xx, xy, penalty).cpu().numpy()
    return weights if axes is None else axes @ weights, x_mean, y_mean, penalty / unit


def film_folds(windows: np.ndarray, segment: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """(n,) int: folds of whole clips of the film, of about equal length.

    Seconds of one scene are alike, so a scene must not be on both sides of a cross-validation.

    Parameters
    ----------
    segment : (movies, seconds), the store's

    Raises
    ------
    UserError
        If there are windows of one clip only.
    """
    group = np.stack([windows["movie"], segment[windows["movie"], windows["clip"]]], axis=1)
    names, group, sizes = np.unique(group, axis=0, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UserError("ridge: the training scenes are of one clip of the film; cross-validation needs two")
    load, fold = np.zeros(min(folds, len(names))), np.empty(len(names), int)
    for one in np.argsort(-sizes, kind="stable"):
        fold[one] = load.argmin()
        load[fold[one]] += sizes[one]
    return fold[group.reshape(-1)]


def _run_of(windows: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    first = windows[rows[0]]
    return int(first["subject"]), int(first["movie"])


def _compact(xx: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R and Z of the module's description, of as many rows as X'X has rank."""
    values, vectors = np.linalg.eigh(xx)
    kept = values > NEGLIGIBLE * values[-1]
    root, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return root[:, None] * vectors.T, (vectors.T @ xy) / root[:, None]


def _span(parts: list[np.ndarray]) -> np.ndarray | None:
    """(features, rows) orthonormal: the span of all rows, None if they are as many as the features."""
    rows = np.concatenate(parts)
    return np.linalg.qr(rows.T)[0] if len(rows) < rows.shape[1] else None
