"""What of an input a score comes from: gradient times input, and integrated gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]  # (batch, ...) -> (batch,), each of its own sample alone


def gradient(score: Score, x: Tensor) -> Tensor:
    """d score / d x, of the shape of ``x``."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(score(x).sum(), x)[0]


def gradient_times_input(score: Score, x: Tensor) -> Tensor:
    """What the score gains as each value of ``x`` grows.

    That is local: where the score saturates, what it rests on may gain nothing, or less than nothing.
    """
    return gradient(score, x) * x


def integrated_gradients(score: Score, x: Tensor, steps: int) -> Tensor:
    """Sundararajan et al. 2017 (arXiv 1703.01365), from the baseline 0.

    The values of a sample sum to score(x) - score(0), up to the error of the integral: Gauss and Legendre's
    rule in ``steps`` points.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(x)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient(score, float(point) * x)
    return total * x
