"""Ridge regression for many penalties: which of them predicts held-out folds best, for each target.

(A + penalty I) W = B is solved by a Cholesky decomposition for each penalty: all seventeen take less than one
eigenvalue decomposition, which would serve them all. In the primal form A is X'X and B is X'Y, in the dual
form A is XX' and B is Y.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# In units of the mean eigenvalue of X'X, and so free of the number of rows.
PENALTIES = np.logspace(-4, 4, 17)


class Held(NamedTuple):
    """A fold that is held out: what is left without it, and what is to be predicted of it.

    Attributes
    ----------
    a, b : (p, p) and (p, targets) float64, of all other folds
    new, y : (m, p) and (m, targets) float64, of this one
    """

    a: Tensor
    b: Tensor
    new: Tensor
    y: Tensor


def best_penalties(folds: Iterable[Held], penalties: np.ndarray) -> np.ndarray:
    """(targets,) the penalty with the least squared error, summed over folds, of each target."""
    errors = reduce(add, (_errors(fold, penalties) for fold in folds))
    return penalties[errors.argmin(dim=0).cpu().numpy()]


def solved(a: Tensor, b: Tensor, penalties: np.ndarray) -> Tensor:
    """(p, targets) W, with a penalty for each target."""
    found = torch.empty_like(b)
    for penalty in np.unique(penalties).tolist():
        columns = torch.from_numpy(penalties == penalty).to(b.device)
        found[:, columns] = _solved(a, b[:, columns], penalty)
    return found


def _errors(fold: Held, penalties: np.ndarray) -> Tensor:
    """(penalties, targets) squared errors, summed over rows."""
    missed = (fold.new @ _solved(fold.a, fold.b, penalty) - fold.y for penalty in penalties.tolist())
    return torch.stack([one.square().sum(dim=0) for one in missed])


def _solved(a: Tensor, b: Tensor, penalty: float) -> Tensor:
    penalised = a.clone()
    penalised.diagonal().add_(penalty)
    return torch.cholesky_solve(b, torch.linalg.cholesky(penalised))
