"""What tells tokens apart by their place: a vector that is added to each before the transformer's blocks.

``sincos`` are those of Vaswani et al. 2017 by the number of the patch, as published: fixed, and neighbours on
the cortex may have numbers far apart. ``learned`` are a free vector for each patch. ``geometric`` are a
learned linear map of spherical harmonics of the patch's centre: what is near has a like place.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simtrain.surface.harmonics import spherical_harmonics
from simtrain.surface.patches import patch_centres


def sincos_positions(count: int, dim: int) -> Tensor:
    """(1, count, dim) fixed 1-D positions (Vaswani et al. 2017): sines, then cosines."""
    frequencies = 10_000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()[None]


def harmonic_positions(patches: int, degree: int) -> Tensor:
    """(1, patches, (degree + 1)**2) spherical harmonics of the patches' centres, of mean square 1 each."""
    values = spherical_harmonics(patch_centres(patches), degree) * math.sqrt(4 * math.pi)
    return torch.from_numpy(values).float()[None]
