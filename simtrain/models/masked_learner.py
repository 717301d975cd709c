"""The masked autoencoder on windows as the store has them: what pretraining trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from simtrain.config.resolved import ResolvedPretrainConfig
from simtrain.data.dataset import Dataset
from simtrain.models.factory import surface_encoder
from simtrain.models.input import FramePatches
from simtrain.models.mae import MAE, patch_statistics
from simtrain.models.main_axes import main_axes
from simtrain.models.masking import Mask, Masking
from simtrain.models.patch_decodings import PCADecoding
from simtrain.models.patch_embeddings import MainComponents
from simtrain.models.sit import SiT
from simtrain.surface.vertices import mean_over_patches

IDENTITY = ("subject", "movie", "second", "hemisphere")  # of a sample


class Scale(NamedTuple):
    """What normalises a token: the mean and s.d. over its values in the cortex, of each of them.

    (batch, patches, 1), or (batch, patches, vertices * frames) if each frame has tokens of its own.
    """

    mean: Tensor
    deviation: Tensor


class Filled(NamedTuple):
    """A batch with patches hidden, and what was predicted. All (batch, patches, vertices * frames).

    Attributes
    ----------
    values : float32, as ``data.normalise`` has BOLD; 0 where there are no data
    predicted : in the units of ``target``
    target : ``values``, or ``values`` less the mean of their token, in units of its s.d.
    counted : bool, what the error is the mean over (``mae.counted``)
    with_data : bool, in the cortex and with data
    hidden : (batch, patches, frames) bool
    scale : of the targets, None unless they are normalised
    """

    values: Tensor
    predicted: Tensor
    target: Tensor
    counted: Tensor
    with_data: Tensor
    hidden: Tensor
    scale: Scale | None


class MaskedLearner(nn.Module):
    """The masked autoencoder on windows as the store has them."""

    def __init__(self, config: ResolvedPretrainConfig, dataset: Dataset) -> None:
        super().__init__()
        self.config = config.mae
        self.frames = FramePatches.of(dataset, config)
        mae = config.mae
        self.mae = MAE(
            surface_encoder(config.model, self.frames.shape, config.data.frames),
            frames=config.data.frames,
            kind=mae.mask,
            dim=mae.decoder_dim,
            depth=mae.decoder_depth,
            heads=mae.decoder_heads,
            dim_head=mae.decoder_dim_head,
            decoding=mae.decoding,
            components=mae.components,
            summary=mae.summary,
        )

    @property
    def encoder(self) -> SiT:
        """What `simtrain fit` starts from."""
        return self.mae.encoder

    @property
    def fitted(self) -> bool:
        """Whether `fit` needs training windows."""
        return self.encoder.embed.fitted or self.mae.to_values.fitted

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Let what is fitted look at training windows, as `SiT.fit`."""
        embed, decoding = self.encoder.embed, self.mae.to_values

        def tokens() -> Iterator[Tensor]:
            return (self.encoder.by_token(block).flatten(0, -3) for block in blocks())

        if (
            isinstance(embed, MainComponents)
            and isinstance(decoding, PCADecoding)
            and embed.axes.shape[2] == decoding.axes.shape[1]
        ):
            axes = main_axes(tokens, embed.axes.shape[2])  # once for both, which go over the store for it
            embed.take(axes)
            decoding.take(axes)
        else:
            embed.fit(tokens)
            decoding.fit(tokens)

    @property
    def device(self) -> torch.device:
        return next(self.mae.to_values.parameters()).device

    def mask(self, samples: np.ndarray, seed: int, step: int) -> Mask:
        """The masks of samples: each a function of seed, step and the sample alone.

        So a run resumes exactly, and goes the same way in parts and in several processes.
        """
        entropies = ([seed, step, *(int(sample[field]) for field in IDENTITY)] for sample in samples)
        masking = Masking(
            self.config.mask, self.config.ratio, self.frames.shape[0], self.mae.frames, self.mae.apart
        )
        return masking.draw([_seed(entropy) for entropy in entropies], self.device)

    def fill(self, samples: np.ndarray, stored: Tensor, mask: Mask) -> Filled:
        """Hide and predict patches of ``samples`` (SAMPLE), (n, frames, vertices) as stored."""
        values = self.frames.of_samples(samples, stored)
        with_data = self.with_data(samples, stored)
        scale = self._scale(values, with_data) if self.config.normalise_target else None
        target = values if scale is None else (values - scale.mean) / scale.deviation
        counted = self._counted(with_data, mask)
        return Filled(values, self.mae(values, mask), target, counted, with_data, mask.hidden, scale)

    def counted(self, samples: np.ndarray, stored: Tensor, mask: Mask) -> Tensor:
        """What the error is the mean over: (batch, patches, vertices of one * frames) bool."""
        return self._counted(self.with_data(samples, stored), mask)

    def with_data(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """(batch, patches, vertices of one * frames) bool: in the cortex, and with data in the sample."""
        inside = self.frames.with_data(stored, self._hemisphere(samples))
        gathered = inside[:, self.frames.vertices].unflatten(1, self.frames.shape)
        return gathered.repeat_interleave(self.mae.frames, dim=2)

    def per_vertex(self, of_patches: Tensor) -> Tensor:
        """(batch, patches, frames) -> (batch, patches, vertices of one * frames)."""
        return of_patches.repeat(1, 1, self.frames.shape[1])

    def on_surface(self, values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """`mean_over_patches` of this encoder's patches."""
        patches = self.frames.vertices.view(self.frames.shape)
        return mean_over_patches(values, counted, patches, self.frames.cortex.shape[1])

    def unseen(self, filled: Filled) -> Tensor:
        """The values in the cortex with data that no visible patch has: (batch, patches, ...) bool."""
        visible = self.per_vertex(~filled.hidden)
        _, counts = self.on_surface(visible, visible)
        return filled.with_data & (counts[:, self.frames.vertices] == 0).reshape(visible.shape)

    def _counted(self, with_data: Tensor, mask: Mask) -> Tensor:
        if self.config.counted == "all":
            return torch.ones_like(with_data)
        hidden = self.per_vertex(mask.hidden)
        return hidden if self.config.counted == "hidden" else hidden & with_data

    def _scale(self, values: Tensor, with_data: Tensor) -> Scale:
        if not self.mae.apart:
            return Scale(*patch_statistics(values, with_data))
        of_tokens = (of.unflatten(2, (-1, self.mae.frames)).transpose(2, 3) for of in (values, with_data))
        return Scale(*(self.per_vertex(found[..., 0]) for found in patch_statistics(*of_tokens)))

    def _hemisphere(self, samples: np.ndarray) -> Tensor:
        return torch.from_numpy(samples["hemisphere"].astype(np.int64)).to(self.device)


def _seed(entropy: list[int]) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
