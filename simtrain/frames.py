"""BOLD as stored -> what the encoder takes, in one step on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Frames(nn.Module):
    """Decodes windows, z-scores every frame over the cortex of its hemisphere, gathers patches.

    Parameters
    ----------
    cortex : (hemispheres, vertices) bool
    patches : (patches, vertices of one) int, as `simtrain.patches.patch_vertices` gives
    """

    def __init__(self, cortex: np.ndarray, patches: np.ndarray) -> None:
        super().__init__()
        self.shape = patches.shape
        self.register_buffer("cortex", torch.from_numpy(cortex.astype(np.float32)), persistent=False)
        self.register_buffer("vertices", torch.from_numpy(patches.reshape(-1)), persistent=False)

    @torch.no_grad()
    def forward(self, stored: Tensor, hemisphere: Tensor) -> Tensor:
        """
        Parameters
        ----------
        stored : (batch, frames, vertices) int8, float16 or float32, as the store has them
        hemisphere : (batch,) int, 0 is L

        Returns
        -------
        (batch, patches, vertices of one * frames) float32; in a patch, the frames of a vertex lie
        together (the published order). Vertices outside the cortex are 0.
        """
        batch, frames, _ = stored.shape
        z = self.zscore(stored, hemisphere)
        gathered = z.transpose(1, 2)[:, self.vertices]
        return gathered.reshape(batch, self.shape[0], self.shape[1] * frames)

    def zscore(self, stored: Tensor, hemisphere: Tensor) -> Tensor:
        """(batch, frames, vertices) float32: mean 0 and s.d. 1 (ddof 0) over the cortex of every frame."""
        cortex = self.cortex[hemisphere][:, None]
        count = cortex.sum(dim=-1, keepdim=True)
        # z-scoring cancels the store's scale factor, so the stored values serve as they are.
        values = torch.where(cortex > 0, stored.float(), 0.0)
        values.sub_(values.sum(dim=-1, keepdim=True) / count).mul_(cortex)
        deviation = (values.square().sum(dim=-1, keepdim=True) / count).sqrt_()
        return values.div_(deviation.clamp_(min=torch.finfo(torch.float32).tiny))
