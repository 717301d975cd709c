"""Noise of unit variance: over time white or 1/f, over the cortex each vertex's own or smooth."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft
from scipy.sparse import csr_array, eye_array
from scipy.spatial import cKDTree

from simdata.surface.meshes import fs_lr_sphere
from simdata.synthetic.grayordinates import cortex_vertices

SLOPE = 1.0  # power falls as 1 / frequency**SLOPE
SLOWEST = 0.01  # Hz; below, power is constant
PADDING = 64  # s, so that the end of a run does not lead into its beginning
KERNEL = 3.0  # s.d. of smoothing, mm
FARTHEST = 9.0  # mm
OWN = 0.3  # share of the variance that a vertex shares with none


def coloured(rng: np.random.Generator, rows: int, seconds: int, one_over_f: bool) -> np.ndarray:
    """(rows, seconds) float32, each row by itself."""
    white = rng.standard_normal((rows, seconds + PADDING), np.float32)
    if one_over_f:
        frequency = fft.rfftfreq(white.shape[1])
        gain = np.maximum(frequency, SLOWEST) ** (-SLOPE / 2)
        counts = np.where((frequency == 0) | (frequency == 0.5), 1, 2)
        gain /= np.sqrt((counts * gain**2).sum() / counts.sum())
        white = fft.irfft(fft.rfft(white) * gain.astype(np.float32), white.shape[1])
    return np.ascontiguousarray(white[:, :seconds])


@cache
def smoothing(density: str, hemisphere: str) -> csr_array:
    """(rows, rows) float32 that makes noise smooth on the sphere, and keeps its variance."""
    points = fs_lr_sphere(density, hemisphere)[0][cortex_vertices(density, hemisphere)]
    tree = cKDTree(points)
    near = tree.sparse_distance_matrix(tree, FARTHEST, output_type="coo_matrix")
    weights = np.exp(-(near.data**2) / (2 * KERNEL**2))
    kernel = _unit(csr_array((weights, (near.row, near.col)), shape=near.shape))
    return _unit(np.sqrt(1 - OWN) * kernel + np.sqrt(OWN) * eye_array(len(points), format="csr"))


def _unit(kernel: csr_array) -> csr_array:
    """With rows of length 1, so that white noise keeps its variance."""
    length = np.sqrt(kernel.power(2).sum(axis=1))
    return csr_array(kernel.multiply(1 / length[:, None]), dtype=np.float32)
