"""Ridge regression with a penalty for each feature space and each target.

Spaces are scaled by a mix (`simtrain.encoding.mixes`) and regressed together with one penalty; each target
has the mix and penalty whose squared error over held-out folds is least. All targets share the design, so
every mix is decomposed once in each fold, and targets go through in parts. himalaya's random search makes the
same choice (tests compare).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from simdata.common.remembered import remembering
from simtrain.baselines.penalties import PENALTIES

PART = 4096  # targets at a time
NEGLIGIBLE = 1e-14  # share of the largest eigenvalue


@dataclass(frozen=True)
class Fitted:
    """What a regression predicts of the new rows, and how it was chosen.

    Attributes
    ----------
    predicted : (m, targets) float32
    mix : (targets, spaces), shares of the design's variance
    penalty : (targets, spaces), in units of the mean eigenvalue of each space's X'X; infinite where a space
        has no share
    """

    predicted: np.ndarray
    mix: np.ndarray
    penalty: np.ndarray


class BandedRidge:
    """Regression of any number of targets on feature spaces, and what it predicts of new rows.

    Parameters
    ----------
    x : of each space (n, features) of training
    new : of each space (m, features), of which to predict
    fold : (n,) int, for cross-validation

    Attributes
    ----------
    power : (spaces,) sum of squares of each about its mean
    """

    def __init__(
        self, x: Sequence[np.ndarray], new: Sequence[np.ndarray], fold: np.ndarray, device: torch.device
    ) -> None:
        self._features = np.array([space.shape[1] for space in x])
        self.power = np.array([np.square(space - space.mean(axis=0), dtype=float).sum() for space in x])
        self._device = device
        spaces = [_joined(one, other, device) for one, other in zip(x, new, strict=True)]
        wide = self._features.sum() >= len(fold)
        self._design = _Products(spaces, len(fold)) if wide else _Columns(spaces)
        self._train, self._new = torch.arange(len(spaces[0]), device=device).tensor_split([len(fold)])
        groups = [torch.from_numpy(fold == one).to(device) for one in np.unique(fold)]
        self._folds = [(self._train[~group], self._train[group]) for group in groups]
        # One mix is all that plain ridge has: then nothing is decomposed twice.
        self._of_folds = remembering(self._decompose_folds, 1)
        self._of_all = remembering(self._decompose_all, 1)

    def fit(self, y: np.ndarray, mixes: np.ndarray) -> Fitted:
        """Regress targets (n, targets) of training, with the best of these mixes (k, spaces) for each."""
        chosen, penalty = self._choose(y, mixes)
        predicted = np.empty((len(self._new), y.shape[1]), np.float32)
        for number in np.unique(chosen):
            smoother = self._of_all(tuple(mixes[number]))
            own = np.flatnonzero(chosen == number)
            for part in np.split(own, range(PART, len(own), PART)):
                own_penalty = torch.from_numpy(penalty[part] * self._unit(mixes[number])).to(self._device)
                targets = self._on_device(y[:, part], torch.float64)
                predicted[:, part] = smoother.fitted(targets)(own_penalty).cpu().numpy()
        mix = mixes[chosen]
        share = self._features / self._columns(mix)[:, None]
        with np.errstate(divide="ignore"):
            return Fitted(predicted, mix, penalty[:, None] * share / mix)

    def _choose(self, y: np.ndarray, mixes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(targets,): the position of the mix with the least squared error, and the penalty."""
        least, chosen = np.full(y.shape[1], np.inf), np.zeros(y.shape[1], int)
        penalty = np.full(y.shape[1], PENALTIES[-1])
        for number, mix in enumerate(mixes):
            for part, errors in self._errors(tuple(mix), y):
                best, error = errors.argmin(axis=0), errors.min(axis=0)
                better = error < least[part]
                least[part] = np.where(better, error, least[part])
                chosen[part] = np.where(better, number, chosen[part])
                penalty[part] = np.where(better, PENALTIES[best], penalty[part])
        return chosen, penalty

    def _errors(self, mix: tuple[float, ...], y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Parts of the targets, and (penalties, targets of it) the sum over folds of squared errors."""
        folds = self._of_folds(mix)
        penalties = torch.from_numpy(PENALTIES * self._unit(np.array(mix))).to(self._device)
        for start in range(0, y.shape[1], PART):
            part = slice(start, start + PART)
            # Half the time in float32; what is predicted in the end is worked out in float64.
            targets = self._on_device(y[:, part], torch.float32)
            errors = np.zeros((len(penalties), targets.shape[1]))
            for (kept, held_out), smoother in zip(self._folds, folds, strict=True):
                fitted, true = smoother.fitted(targets[kept]), targets[held_out]
                for row, penalty in enumerate(penalties):
                    errors[row] += (fitted(penalty) - true).square().sum(dim=0).cpu().numpy()
            yield part, errors

    def _decompose_folds(self, mix: tuple[float, ...]) -> list[_Smoother]:
        smoother = self._design.mixed(self._scales(mix))
        return [smoother(kept, held_out).to(torch.float32) for kept, held_out in self._folds]

    def _decompose_all(self, mix: tuple[float, ...]) -> _Smoother:
        return self._design.mixed(self._scales(mix))(self._train, self._new)

    def _columns(self, mix: np.ndarray) -> np.ndarray:
        """(...): of the spaces that have a share in mixes (..., spaces)."""
        return (mix > 0) @ self._features

    def _unit(self, mix: np.ndarray) -> float:
        """The mean eigenvalue of a mix's X'X."""
        return float(self.power.sum() / self._columns(mix))

    def _scales(self, mix: tuple[float, ...]) -> list[float]:
        """By which the squares of spaces are multiplied: their sum stays, however it is shared."""
        return [
            share * self.power.sum() / power if share else 0.0
            for share, power in zip(mix, self.power, strict=True)
        ]

    def _on_device(self, values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device, dtype)


@dataclass(frozen=True)
class _Smoother:
    """Predictions of new rows from targets y of other rows: before diag(1 / (values + penalty)) behind y."""

    before: Tensor
    values: Tensor
    behind: Tensor

    def fitted(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """From a penalty, or one of each target, to predictions."""
        mean = y.mean(dim=0)
        projected = self.behind @ (y - mean)

        def predict(penalty: Tensor) -> Tensor:
            if penalty.ndim == 0:  # the same of all: the smaller factor takes it
                return (self.before / (self.values + penalty).to(self.before.dtype)) @ projected + mean
            return self.before @ (projected / (self.values[:, None] + penalty)) + mean

        return predict

    def to(self, dtype: torch.dtype) -> _Smoother:
        """Its matrices in another precision."""
        return _Smoother(self.before.to(dtype), self.values, self.behind.to(dtype))


_Smoothing = Callable[[Tensor, Tensor], _Smoother]  # from positions of training and of new rows


class _Columns:
    """Feature spaces by their columns: where rows are more than columns.

    Parameters
    ----------
    spaces : (rows, features)
    """

    def __init__(self, spaces: Sequence[Tensor]) -> None:
        self._spaces = spaces

    def mixed(self, scales: Sequence[float]) -> _Smoothing:
        """Of spaces whose squares are multiplied by ``scales``."""
        parts = [space * scale**0.5 for space, scale in zip(self._spaces, scales, strict=True) if scale]
        return partial(self._smoother, torch.cat(parts, dim=1))

    @staticmethod
    def _smoother(columns: Tensor, train: Tensor, new: Tensor) -> _Smoother:
        """With X'X = V l V': before = N V, behind = V'X', of rows less the mean of the training ones."""
        x = columns[train]
        mean = x.mean(dim=0)
        x = x - mean
        values, vectors = _decomposed(x.T @ x)
        return _Smoother((columns[new] - mean) @ vectors, values, vectors.T @ x.T)


class _Products:
    """Feature spaces by the products of their rows: where columns are more than rows.

    Parameters
    ----------
    spaces : (rows, features), the training rows first
    count : of training rows
    """

    def __init__(self, spaces: Sequence[Tensor], count: int) -> None:
        self._products = [space @ space[:count].T for space in spaces]

    def mixed(self, scales: Sequence[float]) -> _Smoothing:
        """Of spaces whose squares are multiplied by ``scales``."""
        total = torch.zeros_like(self._products[0])
        for products, scale in zip(self._products, scales, strict=True):
            total.add_(products, alpha=scale)
        return partial(self._smoother, total)

    @staticmethod
    def _smoother(products: Tensor, train: Tensor, new: Tensor) -> _Smoother:
        """With XX' = U l U': before = N X'U, behind = U', of rows less the mean of the training ones."""
        own, cross = products[train][:, train], products[new][:, train]
        mean = own.mean(dim=0)
        middle = mean.mean()
        values, vectors = _decomposed(own - mean - mean[:, None] + middle)
        cross = cross - cross.mean(dim=1, keepdim=True) - mean + middle
        return _Smoother(cross @ vectors, values, vectors.T)


def _decomposed(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of a positive matrix, without those that are 0."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > NEGLIGIBLE * values[-1].clamp(min=0)
    return values[kept], vectors[:, kept]


def _joined(one: np.ndarray, other: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate([one, other]).astype(np.float64)).to(device)
