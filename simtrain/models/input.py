"""BOLD as stored -> what the encoder takes, in one step on the device."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from simdata.store.encoding import INT8_FILL
from simtrain.common.reused_memory import Recycled
from simtrain.config.resolved import Resolved
from simtrain.data.dataset import Dataset
from simtrain.data.feeds.team import Team
from simtrain.data.run_scales import RunScale, RunScales
from simtrain.models.input_kernels import float_patches, integer_patches, scaled_patches


class FramePatches(nn.Module):
    """Decodes windows, normalises BOLD as ``data.normalise`` says, gathers patches.

    By default every frame is z-scored over the cortex of its hemisphere. Otherwise values are scaled first,
    by vertex and run (`simtrain.data.run_scales`), and then z-scored by frame or not.

    A vertex of the cortex may lack data in a run whose field of view was small; the store has its missing
    value there, -128 or NaN. The rule, in every way to patches and for all that use them: such a vertex is
    left out of its frames' statistics, and stands for the mean, 0 (`with_data` says which have data).

    z-scoring alone cancels the store's scale factor, so the stored values serve as they are. The statistics
    of a frame are taken over the mesh, but its values go from the stored type to their patches without a
    float copy of the frame in between; only values that are scaled have one. On a CPU that is a compiled
    loop, on a GPU a few kernels of torch, or one or two where ``train.compile`` is on.

    Parameters
    ----------
    cortex : (hemispheres, vertices) bool
    patches : (patches, vertices of one) int, as `simtrain.surface.patches.patch_vertices` gives
    scales : of the runs' vertices; None: values as stored, of which only the z-score by frame has a meaning
    zscored : whether frames are z-scored
    """

    cortex: Tensor
    vertices: Tensor
    shape: tuple[int, int]

    def __init__(
        self, cortex: np.ndarray, patches: np.ndarray, scales: RunScales | None = None, zscored: bool = True
    ) -> None:
        super().__init__()
        self.shape = patches.shape
        self.scales, self._zscored = scales, zscored
        vertices = patches.reshape(-1)
        self.register_buffer("cortex", torch.from_numpy(cortex), persistent=False)
        self.register_buffer("vertices", torch.from_numpy(vertices), persistent=False)
        self._surface, self._gathered = cortex.astype(np.int8), vertices.astype(np.int32)
        self._recycled = Recycled()

    @classmethod
    def of(cls, dataset: Dataset, config: Resolved, patches: np.ndarray | None = None) -> FramePatches:
        """As a configuration has them, or in ``patches`` of one's own.

        Raises
        ------
        UserError
            If the store has not kept what ``data.normalise`` takes.
        """
        patches = dataset.patches(config.model.ico) if patches is None else patches
        by_vertex, zscored = config.data.by_vertex, config.data.by_frame
        scales = None if by_vertex == "vertex-zscore" and zscored else RunScales(dataset, by_vertex)
        return cls(dataset.cortex, patches, scales, zscored)

    def of_samples(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """`forward` of ``samples`` (SAMPLE) and their BOLD as stored, on this module's device."""
        device = self.cortex.device
        side = torch.from_numpy(samples["hemisphere"].astype(np.int64)).to(device, non_blocking=True)
        scale = None if self.scales is None else self.scales.of(samples, device)
        return self(stored, side, scale)

    @torch.no_grad()
    def forward(self, stored: Tensor, hemisphere: Tensor, scale: RunScale | None = None) -> Tensor:
        """Patches of BOLD as the store has it.

        Parameters
        ----------
        stored : (batch, frames, vertices) int8, float16 or float32, as the store has them
        hemisphere : (batch,) int, 0 is L
        scale : of the batch, as ``scales`` gives; where there are none, None

        Returns
        -------
        (batch, patches, vertices of one * frames) float32; in a patch, the frames of a vertex lie
        together (the published order). Vertices without data are 0, and so are all of a z-scored frame
        that does not vary.
        """
        if stored.device.type == "cpu":
            return self._compiled(stored, hemisphere, scale)
        return self.on_device(stored, hemisphere, scale)

    def on_device(self, stored: Tensor, hemisphere: Tensor, scale: RunScale | None = None) -> Tensor:
        """`forward`, written in torch for any device."""
        if scale is not None:
            stored = scale.apply(_with_nan(stored))
        inside = self.with_data(stored, hemisphere)
        scored = stored.transpose(1, 2)[:, self.vertices].float()
        if self._zscored:
            mean, inverse = self._moments(stored, inside)
            scored = (scored - mean.transpose(1, 2)) * inverse.transpose(1, 2)
        scored = torch.where(inside[:, self.vertices][..., None], scored, 0.0)
        return scored.reshape(len(stored), self.shape[0], self.shape[1] * stored.shape[1])

    def zscore(self, stored: Tensor, hemisphere: Tensor) -> Tensor:
        """(batch, frames, vertices) float32: mean 0 and s.d. 1 (ddof 0) over what of a frame has data."""
        inside = self.with_data(stored, hemisphere)
        mean, scale = self._moments(stored, inside)
        return torch.where(inside[:, None], (stored.float() - mean) * scale, 0.0)

    def with_data(self, stored: Tensor, hemisphere: Tensor) -> Tensor:
        """(batch, vertices) bool: in the cortex, and not missing in any frame of the window."""
        missing = stored.isnan() if stored.is_floating_point() else stored == INT8_FILL
        return self.cortex[hemisphere] & ~missing.any(dim=1)

    def _moments(self, stored: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and 1 / s.d. of every frame, (batch, frames, 1) float32; the sums of int8 are exact."""
        count = inside.sum(dim=-1, keepdim=True).clamp(min=1)[:, None]
        wide = torch.float64 if stored.is_floating_point() else torch.int32  # which torch sums in int64
        values = torch.where(inside[:, None], stored, 0).to(wide)
        total, squares = (of.sum(dim=-1, keepdim=True) for of in (values, values.square()))
        mean, variance = total / count, (squares * count - total.square()) / count.square()
        varies = variance > (torch.finfo(torch.float32).eps * mean).square()
        return mean.float(), torch.where(varies, variance.rsqrt(), 0.0).float()

    def _compiled(self, stored: Tensor, hemisphere: Tensor, scale: RunScale | None) -> Tensor:
        floating = stored.is_floating_point()
        kernel = float_patches if floating else integer_patches
        values = (stored.float() if floating else stored).contiguous().numpy()
        out = self._recycled.empty(len(stored), self.shape[0], self.shape[1] * stored.shape[1])
        flat, side = out.view(len(stored), -1).numpy(), hemisphere.numpy()

        def work(part: slice) -> None:
            where = self._surface, self._gathered, flat[part]
            if scale is None:
                kernel(values[part], side[part], *where)
                return
            missing = np.float32(np.nan) if floating else np.int8(INT8_FILL)
            rows = scale.factor.numpy(), scale.offset.numpy(), scale.row.numpy()[part]
            scaled_patches(values[part], missing, side[part], rows, self._zscored, *where)

        _team(torch.get_num_threads()).share(work, len(stored))
        return out


def _with_nan(stored: Tensor) -> Tensor:
    """float32, NaN where there are no data."""
    values = stored.float()
    return values if stored.is_floating_point() else values.masked_fill(stored == INT8_FILL, torch.nan)


@lru_cache(1)
def _team(threads: int) -> Team:
    """As many threads as torch has, for all modules of the process."""
    return Team(threads, "frames")
