"""Values between samples, by cubic convolution: four samples, third order, no overshoot to speak of.

R. G. Keys, Cubic convolution interpolation for digital image processing, IEEE Transactions on Acoustics,
Speech, and Signal Processing 29(6), 1981, with his a = -1/2 (the kernel of Catmull-Rom's splines).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SUPPORT = 2.0  # of the kernel, in samples to either side
WHOLE = 1e-3  # samples: a position this near to one is on it


@dataclass(frozen=True)
class Band:
    """A matrix from samples to rows, of which a row has few elements, side by side.

    Attributes
    ----------
    first : (rows,) int32, the sample that a row's first weight is for
    weights : (rows, taps) float32; those of a row sum to 1
    """

    first: np.ndarray
    weights: np.ndarray

    def touches(self, samples: np.ndarray) -> np.ndarray:
        """(rows,) bool: any of these samples, (samples,) bool, is in a row."""
        return (samples[self._samples()] & (self.weights != 0)).any(axis=1)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(samples, ...) -> (rows, ...), in the type of ``values``."""
        taken = values[self._samples()]
        return np.einsum("rt,rt...->r...", self.weights.astype(values.dtype), taken)

    def _samples(self) -> np.ndarray:
        return self.first[:, None] + np.arange(self.weights.shape[1])


def cubic_band(positions: np.ndarray, samples: int, width: float = 1.0) -> tuple[np.ndarray, Band]:
    """What takes ``samples`` values to positions between them.

    Parameters
    ----------
    positions : (n,) float, in samples from 0; anywhere
    width : of the kernel, in samples. Above 1 it also takes away what is too fast for rows so far apart.

    Returns
    -------
    inside : (n,) bool, the positions whose value is made of samples that there are
    band : a row for each of those
    """
    nearest = np.rint(positions)
    positions = np.where(np.abs(positions - nearest) < WHOLE, nearest, positions)
    half = int(np.ceil(SUPPORT * width))
    around = np.floor(positions)[:, None] + np.arange(1 - half, 1 + half)
    used = _kernel((around - positions[:, None]) / width) != 0
    inside = ~(used & ((around < 0) | (around >= samples))).any(axis=1)
    around, used, positions = around[inside], used[inside], positions[inside]
    taps = int((2 * half - used.argmax(axis=1) - used[:, ::-1].argmax(axis=1)).max(initial=1))
    first = np.minimum(around[:, 0] + used.argmax(axis=1), samples - taps).astype(np.int32)
    weights = _kernel((first[:, None] + np.arange(taps) - positions[:, None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    return inside, Band(first, weights.astype(np.float32))


def _kernel(x: np.ndarray) -> np.ndarray:
    """Keys's kernel; exactly 0 at whole distances but 0, and from 2 on."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = np.where(x < 1, near, np.where(x < SUPPORT, far, 0.0))
    return np.where(np.abs(weight) < 1e-7, 0.0, weight)
