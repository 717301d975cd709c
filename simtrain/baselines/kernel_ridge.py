"""Ridge regression in its dual form, for designs too wide to hold: every vertex of the cortex, with delays.

Ridge of X (n windows, vertices * delays) needs only K = XX', and what it predicts of new windows only the
products of their rows with those of X (Saunders, Gammerman and Vovk, ICML 1998). Both are summed from
products of volumes, block by block: the product of two windows is the sum over delays of that of their
volumes. So X is never held, neither are delayed copies of BOLD, and memory is that of two blocks and of a few
matrices of the size of K (n, n).

Penalties are those of `simtrain.baselines.ridge`: chosen for each target over the same folds, in units of the
mean eigenvalue of X'X.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.baselines.courses import by_run
from simtrain.baselines.penalties import PENALTIES, Held, best_penalties, solved
from simtrain.baselines.targets import Targets
from simtrain.baselines.vertices import VertexCourses

BLOCK = 2**29  # bytes of BOLD of a block of runs


@dataclass(frozen=True)
class KernelRidge:
    """A fitted regression, by the training windows that it is a sum over.

    Attributes
    ----------
    dual : (n, targets) float64, the weights of the training windows; each column sums to 0, so
        that what products with all of them have in common cancels
    y_mean : (targets,) means over the training windows
    product_mean : (n,) each training window's mean product with all of them
    penalty : (targets,) in units of the mean eigenvalue of X'X
    windows : (n,) WINDOW, of training
    courses : what training windows are taken from
    delays : (delays,) int, s from the first volume of a window
    columns : where the targets of each modality are
    """

    dual: np.ndarray
    y_mean: np.ndarray
    product_mean: np.ndarray
    penalty: np.ndarray
    windows: np.ndarray
    courses: VertexCourses
    delays: np.ndarray
    columns: dict[str, slice]
    device: torch.device
    _predicted: dict[bytes, np.ndarray] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """Vertices times delays."""
        return self.courses.features * len(self.delays)

    def predict(self, courses: VertexCourses, windows: np.ndarray, modality: str) -> np.ndarray:
        """(n, targets of the modality) float32: the predicted embedding of every window's clip.

        Modalities share the products, so all are predicted at once, and kept for when the next is asked for.
        """
        if (asked := windows.tobytes()) not in self._predicted:
            self._predicted[asked] = self._predict(courses, windows)
        return self._predicted[asked][:, self.columns[modality]]

    def _predict(self, courses: VertexCourses, windows: np.ndarray) -> np.ndarray:
        predicted = np.empty((len(windows), len(self.y_mean)), np.float32)
        trained = _Rows(self.courses, self.windows, self.delays, self.device)
        for rows, new in _Rows(courses, windows, self.delays, self.device).blocks():
            products = np.empty((len(rows), len(self.windows)))
            for among, old in trained.blocks():
                products[:, among] = new.products(old)
            predicted[rows] = (products - self.product_mean) @ self.dual + self.y_mean
        return predicted

    def save(self, path: Path) -> None:
        """Write NumPy's .npz; the columns of a modality as ``columns_<modality>`` (start, stop)."""
        columns = {f"columns_{name}": np.array([c.start, c.stop]) for name, c in self.columns.items()}
        names = ("dual", "y_mean", "product_mean", "penalty", "windows", "delays")
        np.savez(path, allow_pickle=False, **{name: getattr(self, name) for name in names}, **columns)


def fit_kernel_ridge(
    courses: VertexCourses,
    windows: np.ndarray,
    fold: np.ndarray,
    targets: Targets,
    delays: np.ndarray,
    device: torch.device,
) -> KernelRidge:
    """Fit on training windows; the penalties by cross-validation over the folds.

    Parameters
    ----------
    fold : (n,) int, which fold each window is in
    delays : s from the first volume of a window

    Raises
    ------
    UserError
        If BOLD is not finite or does not vary.
    """
    y = targets.of(windows["movie"], windows["clip"]).astype(np.float64)
    kernel = _kernel(_Rows(courses, windows, delays, device))
    product_mean, y_mean = kernel.mean(axis=0), y.mean(axis=0)
    kernel += product_mean.mean() - product_mean - product_mean[:, None]
    dual, penalty = solve_dual(kernel, y - y_mean, fold, courses.features * len(delays), device)
    return KernelRidge(dual, y_mean, product_mean, penalty, windows, courses, delays, targets.columns, device)


def solve_dual(
    kernel: np.ndarray, y: np.ndarray, fold: np.ndarray, features: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Dual weights (n, targets), and the penalty of each target as in `KernelRidge`.

    Parameters
    ----------
    kernel : (n, n) XX' of centred rows
    y : (n, targets) centred
    fold : (n,) int
    features : columns of X
    """
    unit = float(np.trace(kernel)) / features
    if not 0 < unit < np.inf:
        raise UserError("ridge: the BOLD of the training windows is not finite, or the same in all of them")
    products, targets = (torch.from_numpy(values).to(device) for values in (kernel, y))
    parts = [(np.flatnonzero(fold == one), np.flatnonzero(fold != one)) for one in np.unique(fold)]
    held_out = (
        Held(products[np.ix_(rest, rest)], targets[rest], products[np.ix_(held, rest)], targets[held])
        for held, rest in parts
    )
    penalty = best_penalties(held_out, PENALTIES * unit)
    return solved(products, targets, penalty).cpu().numpy(), penalty / unit


def by_film_clips(windows: np.ndarray, segment: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of the windows, in their order, in stretches of a subject and a film clip.

    One subject in each clip, drawn by the seed, then a second one in each, and so on; so windows that share
    volumes come together. The last stretch is cut short.

    Parameters
    ----------
    segment : (movies, seconds), the store's
    """
    if len(windows) <= count:
        return windows
    code = segment[windows["movie"], windows["clip"]]
    names = np.stack([windows["movie"], code, windows["subject"]], axis=1)
    stretches, of_window = np.unique(names, axis=0, return_inverse=True)
    rng, turn = np.random.default_rng(seed), np.empty(len(stretches), int)
    _, clip = np.unique(stretches[:, :2], axis=0, return_inverse=True)
    for one in range(clip.max() + 1):
        here = np.flatnonzero(clip.reshape(-1) == one)
        turn[here] = rng.permutation(len(here))
    order = np.argsort(turn[of_window.reshape(-1)] * len(stretches) + of_window.reshape(-1), kind="stable")
    return windows[np.sort(order[:count])]


@dataclass(frozen=True)
class _Block:
    """Volumes of some runs, and which of them each window has at each delay."""

    volumes: torch.Tensor
    at: np.ndarray

    def products(self, other: _Block) -> np.ndarray:
        """(windows, windows of the other) float64."""
        of_volumes = (self.volumes @ other.volumes.T).cpu().numpy()
        total = np.zeros((len(self.at), len(other.at)))
        for one, another in zip(self.at.T, other.at.T, strict=True):
            total += of_volumes[one[:, None], another]
        return total


@dataclass(frozen=True)
class _Rows:
    """The rows of X, in blocks of whole runs."""

    courses: VertexCourses
    windows: np.ndarray
    delays: np.ndarray
    device: torch.device

    def blocks(self, first: int = 0) -> Iterator[tuple[np.ndarray, _Block]]:
        """Positions of windows, and their volumes, from the block of this number on."""
        runs, size = by_run(self.windows), 4 * self.courses.features
        starts, filled = [0], 0
        volumes = [len(np.unique(self.windows["second"][rows][:, None] + self.delays)) for rows in runs]
        for number, count in enumerate(volumes):
            if filled and (filled + count) * size > BLOCK:
                starts.append(number)
                filled = 0
            filled += count
        for start, stop in list(zip(starts, [*starts[1:], len(runs)], strict=True))[first:]:
            yield np.concatenate(runs[start:stop]), self._block(runs[start:stop])

    def _block(self, runs: list[np.ndarray]) -> _Block:
        volumes, at, before = [], [], 0
        for rows in runs:
            one = self.windows[rows[0]]
            run = int(one["subject"]), int(one["movie"])
            course = self.courses.run(*run)
            used, where = self._volumes(rows, *run)
            volumes.append(course[used])
            at.append(before + where)
            before += len(used)
        return _Block(torch.from_numpy(np.concatenate(volumes)).to(self.device), np.concatenate(at))

    def _volumes(self, rows: np.ndarray, subject: int, movie: int) -> tuple[np.ndarray, np.ndarray]:
        """Those of a run that windows have, and which each has, (n, delays): its scan's ends, beyond them."""
        at = self.courses.ends.within(subject, movie, self.windows["second"][rows], self.delays)
        used, where = np.unique(at, return_inverse=True)
        return used, where.reshape(at.shape)


def _kernel(rows: _Rows) -> np.ndarray:
    """(n, n) float64: XX', each pair of blocks once."""
    kernel = np.empty((len(rows.windows), len(rows.windows)))
    for number, (among, block) in enumerate(rows.blocks()):
        kernel[np.ix_(among, among)] = block.products(block)
        for others, other in rows.blocks(number + 1):
            products = block.products(other)
            kernel[np.ix_(among, others)], kernel[np.ix_(others, among)] = products, products.T
    return kernel
