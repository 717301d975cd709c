"""Main axes of cortical windows: what PCA with SIM's projectors sees in place of the surface transformer.

The axes are fitted in a few passes over the windows (`simtrain.models.main_axes`), with no more than a batch
of them in memory.
"""

from __future__ import annotations

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.baselines.vertices import whole_hemisphere
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset
from simtrain.data.windows import by_hemisphere
from simtrain.models.main_axes import Axes, main_axes
from simtrain.training.preparation import decoded, draw


def fit_axes(
    dataset: Dataset,
    windows: np.ndarray,
    config: ResolvedConfig,
    *,
    components: int,
    samples: int,
    seed: int,
    device: torch.device,
) -> Axes:
    """Main axes of ``samples`` of the windows, drawn by ``seed`` from all hemispheres (R mirrored on L).

    Raises
    ------
    UserError
        If the windows are not finite, or do not vary.
    """
    drawn = draw(by_hemisphere(windows, config.data.sides), samples, seed)
    frames = whole_hemisphere(dataset, config).to(device)
    blocks = decoded(dataset, drawn, frames, config.data.frames, device)
    try:
        found = main_axes(blocks, components, seed)
    except FloatingPointError:
        raise UserError("pca: the BOLD of the training windows is not finite") from None
    if not float(found.total):
        raise UserError("pca: the BOLD of the training windows is the same in all of them")
    return found
