"""What of a window a model's embedding comes from, on the patches that the model sees and on the mesh.

A value of a vertex is the mean over the patches that share it, so that the patches' edges do not show; the
sum over the vertices is not that over the patches' values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.attribution.attention_maps import attention_to_patches, heads_to_patches
from simtrain.attribution.gradients import gradient, gradient_times_input, integrated_gradients
from simtrain.common.choices import must_be_one_of
from simtrain.config.schema import Config
from simtrain.data.feeds import Batch
from simtrain.data.windows import HEMISPHERES
from simtrain.models.learner import Learner
from simtrain.models.sit import ONE_TOKEN
from simtrain.surface.patches import patch_vertices
from simtrain.surface.vertices import mean_over_patches
from simtrain.training.run_folder import FitRun

ATTENTION = ("rollout", "attention")
GRADIENTS = ("sensitivity", "gradient", "integrated-gradients")
METHODS = (*ATTENTION, *GRADIENTS)
MAGNITUDES = (*ATTENTION, "sensitivity")  # never negative


@dataclass(frozen=True)
class Method:
    """How to attribute, and what.

    Attributes
    ----------
    name : of ``METHODS``. ``rollout`` and ``attention`` are of `attention_maps`. The others explain
        the similarity of a window's embedding and its true clip's: the magnitude of its gradient
        (``sensitivity``), gradient times input (``gradient``), and integrated gradients, from the baseline 0,
        which by default is every frame's mean over the cortex (``data.normalise``)
    modality : of the clip, for gradients; else None
    heads : how attention's heads become one
    block : of the encoder, whose attention it is, from 0; None: the last
    by_head : of ``attention``: keep its heads apart
    steps : points of the integral of integrated gradients
    by_vertex : of gradients: each vertex's own values, which are noisy, since the embedding of patches keeps
        much of the random weights it began with; else the mean over the cortex of each patch
    absolute : average magnitudes over windows, not values
    bold_unit : what the model has BOLD in
    """

    name: str
    modality: str | None = None
    heads: str = "mean"
    block: int | None = None
    by_head: bool = False
    steps: int = 32
    by_vertex: bool = False
    absolute: bool = False
    bold_unit: str = "s.d."

    @property
    def signed(self) -> bool:
        """Whether values can be negative."""
        return self.name not in MAGNITUDES and not self.absolute

    @property
    def unit(self) -> str:
        """What a value is."""
        if self.name in ATTENTION:
            return "share of attention"
        if self.name == "sensitivity":
            return f"|change of {self.modality} similarity| per {self.bold_unit} of BOLD"
        return f"{'|contribution|' if self.absolute else 'contribution'} to {self.modality} similarity"

    def must_suit(self, config: Config, by_frame: bool) -> None:
        """Raise a UserError if there are no such maps of a model, or no map of each frame if wanted."""
        model = config.model
        if config.context.seconds:
            raise UserError(
                f"saliency: the model also sees {config.context.seconds} s of BOLD around a window "
                "(context.before, context.after), of which there are no maps; take a run without a context"
            )
        if self.name in ATTENTION and not model.attention:
            raise UserError(f"`method` {self.name}: the model has no attention (model.attention: false)")
        if by_frame and self.name in ATTENTION and model.temporal in ONE_TOKEN:
            raise UserError(
                f"`by_frame`: {self.name} does not tell the frames of a window apart, since they are one "
                f"token (model.temporal: {model.temporal}); gradients do"
            )
        for option, given in {"by_head": self.by_head, "block": self.block is not None}.items():
            if given and self.name != "attention":
                raise UserError(
                    f"`{option}` with `method` {self.name}: only `method` attention is of one block, with "
                    "its heads"
                )
        if self.by_head and self.heads != "mean":
            raise UserError(
                f"`by_head` with `heads` {self.heads}: heads that are kept apart are not made one"
            )
        if self.block is not None and not 0 <= self.block < model.depth:
            raise UserError(f"`block` {self.block}: the encoder's blocks are 0 to {model.depth - 1}")

    def __str__(self) -> str:
        what = f"{self.heads} over heads" if self.name in ATTENTION else f"of {self.modality}"
        if self.block is not None:
            what += f", block {self.block}"
        return f"{self.name}, {what}{', by vertex' * self.by_vertex}{', magnitudes' * self.absolute}"

    @property
    def stem(self) -> str:
        """For names of files: what tells methods apart."""
        if self.name in ATTENTION:
            return f"{self.name}.{self.heads}{'' if self.block is None else f'.block{self.block}'}"
        return f"{self.name}.{self.modality}{'.vertex' * self.by_vertex}{'.absolute' * self.absolute}"


class Attribution:
    """One method with one model, whose weights are kept from gradients.

    Attributes
    ----------
    incomplete : as `simtrain.attribution.maps.Attributions` has it, of all batches so far
    """

    def __init__(self, learner: Learner, ico: int, vertices: int, method: Method) -> None:
        self._learner, self._method = learner.requires_grad_(False), method
        self._patches = torch.from_numpy(patch_vertices(ico)).to(learner.device)
        self._vertices = vertices
        self._heads = learner.encoder.attentions[0].heads if method.by_head else 1
        self._gap, self._whole = 0.0, 0.0

    @property
    def incomplete(self) -> float | None:
        return self._gap / self._whole if self._whole else None

    def of_batch(self, batch: Batch) -> Tensor:
        """(heads, frames, hemispheres, vertices) float64: the sum over windows, of what has data.

        One in place of heads, unless the method keeps them apart.
        """
        values = self._on_patches(batch)
        side = torch.from_numpy(batch.samples["hemisphere"].astype(np.int64)).to(values.device)
        # (batch, patches, vertices of one, 1)
        inside = self._learner.frames.with_data(batch.stored, side)[:, self._patches, None]
        if self._method.name in GRADIENTS and not self._method.by_vertex:
            values = self._patch_means(values, inside)
        if self._method.absolute:
            values = values.abs()
        # A vertex without data says nothing: 0.
        counted = inside.expand_as(values.unflatten(2, (self._patches.shape[1], -1))).flatten(2)
        on_mesh, _ = mean_over_patches(values, counted, self._patches, self._vertices)
        total = values.new_zeros(HEMISPHERES, *on_mesh.shape[1:], dtype=torch.float64)
        total.index_add_(0, side, on_mesh.double())
        return total.permute(2, 0, 1).unflatten(0, (-1, self._heads)).transpose(0, 1)

    def _patch_means(self, values: Tensor, cortex: Tensor) -> Tensor:
        """Every vertex has the mean over what of its patch has data."""
        of_vertices = values.unflatten(2, (self._patches.shape[1], -1))
        total = torch.where(cortex, of_vertices, 0.0).sum(dim=2, keepdim=True)
        mean = total / cortex.sum(dim=2, keepdim=True).clamp(min=1)
        return mean.expand_as(of_vertices).flatten(2)

    def _on_patches(self, batch: Batch) -> Tensor:
        """(batch, patches, vertices of one * frames * heads)."""
        method, x = self._method, self._learner.patches(batch.samples, batch.stored)
        if method.name in ATTENTION:
            # All vertices of a patch have its share.
            return self._attention(x).repeat(1, 1, self._patches.shape[1])
        assert method.modality is not None  # only a method by attention has none
        clips = self._learner.embed_clips(batch.samples["movie"], batch.samples["clip"])[method.modality]

        def similarity(x: Tensor) -> Tensor:
            return (self._learner.sim.embed_fmri(x) * clips).sum(dim=-1)

        if method.name == "sensitivity":
            return gradient(similarity, x).abs()
        if method.name == "gradient":
            return gradient_times_input(similarity, x)
        values = integrated_gradients(similarity, x, method.steps)
        with torch.no_grad():
            difference = similarity(x) - similarity(torch.zeros_like(x))
        self._gap += float((values.sum(dim=(1, 2)) - difference).abs().sum())
        self._whole += float(difference.abs().sum())
        return values

    def _attention(self, x: Tensor) -> Tensor:
        """(batch, patches, frames * heads), one in place of heads unless they are kept apart."""
        method, encoder = self._method, self._learner.encoder
        block = -1 if method.block is None else method.block
        if method.by_head:
            return heads_to_patches(encoder, x, block).flatten(2)
        return attention_to_patches(
            encoder, x, rollout=method.name == "rollout", heads=method.heads, block=block
        )


def modality_of(run: FitRun, method: str, wanted: str | None) -> str | None:
    """The modality whose similarity is explained: the one wanted, or the run's first; None for attention.

    Raises
    ------
    UserError
        If the run has no such modality, or the method is none, or knows of none.
    """
    must_be_one_of("method", method, METHODS)
    if method in ATTENTION:
        if wanted is not None:
            raise UserError(f"`modality`: {method} looks at the fMRI encoder alone; leave it out")
        return None
    if wanted is not None and wanted not in run.config.stimuli:
        raise UserError(
            f"`modality` {wanted!r}: {run.path} is a model of {', '.join(run.config.stimuli)} alone"
        )
    return wanted or run.config.stimuli[0]
