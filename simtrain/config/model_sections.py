"""Sections ``model``, ``context``, ``projector`` and ``mae`` of a configuration: what is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simtrain.config.registries import PatchEmbeddingName
from simtrain.config.section import Count, Fraction, Section


class EncoderConfig(Section):
    """The surface vision transformer (`simtrain.models.sit.SiT`)."""

    ico: int = Field(default=3, ge=1, le=5, description="Icosphere whose faces are the patches: 20 * 4**ico.")
    dim: int = Field(default=192, gt=0, multiple_of=2, description="Width of a token.")
    depth: Count = Field(default=12, description="Number of transformer blocks.")
    heads: Count = Field(default=3, description="Attention heads of a block.")
    dim_head: Count = Field(default=64, description="Width of an attention head, whatever dim is.")
    mlp_ratio: Count = Field(default=4, description="Width of a block's MLP, in multiples of dim.")
    dropout: Fraction = Field(default=0.0, description="Dropout in the blocks.")
    final_norms: Literal[1, 2] = Field(
        default=1, description="Layer norms at the end; 2 is for published weights (simtrain import-weights)."
    )
    layout: Literal["geometry", "stored"] = Field(
        default="geometry",
        description="Positions, and the order of values in a patch: as the geometry has them, or kept with "
        "the weights (stored), for published ones (simtrain import-weights).",
    )
    temporal: Literal["channels", "concat", "average", "mean_frame"] = Field(
        default="channels",
        description="Frames of a window: channels of a patch's one token; or tokens of their own, in one "
        "sequence (concat), or in one for each frame, and the mean of the results is taken (average); or "
        "their mean is taken for one frame (mean_frame).",
    )
    frame_positions: Literal["learned", "sequence"] = Field(
        default="learned",
        description="With temporal concat, what tells the frames of a patch apart: a learned embedding "
        "(learned), or fixed positions that run on from frame to frame, as published (sequence).",
    )
    class_token: bool = Field(
        default=True, description="Whether a class token goes before the tokens of the patches."
    )
    patch_embedding: PatchEmbeddingName = Field(
        default="linear",
        description="From a patch's values to its token: a linear map shared by all patches (linear), one "
        "for each patch (per_patch), one for each patch from its main components (pca), a shared one from "
        "values that are whitened by patch (whitened), or yours.",
    )
    components: Count = Field(
        default=12,
        description="With patch_embedding pca or whitened: main components of a patch that are kept.",
    )
    positions: Literal["sincos", "learned", "geometric"] = Field(
        default="sincos",
        description="What tells patches apart: sines and cosines of their numbers, as published (sincos), a "
        "learned vector for each (learned), or a learned linear map of spherical harmonics of their centres "
        "(geometric).",
    )
    degree: int = Field(
        default=6, ge=1, le=32, description="With positions geometric: the highest degree of the harmonics."
    )
    attention: bool = Field(
        default=True,
        description="Whether tokens see each other; if not, each goes through the blocks' MLPs by itself.",
    )
    checkpointing: bool = Field(
        default=False,
        description="Work activations out again in the backward pass: less memory for more time.",
    )
    patches: str | None = Field(
        default=None, description="CSV file with the patches in another order; in a run folder, its hash."
    )

    @model_validator(mode="after")
    def _in_one_sequence(self) -> Self:
        if self.frame_positions == "sequence" and self.temporal != "concat":
            raise ValueError("frame_positions: sequence needs temporal: concat, with frames in one sequence")
        if self.frame_positions == "sequence" and self.positions != "sincos":
            raise ValueError(
                f"frame_positions: sequence does not go with positions: {self.positions}, which do not run "
                "on from frame to frame"
            )
        return self

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.positions != "sincos" and (self.layout == "stored" or self.patches is not None):
            raise ValueError(
                f"positions: {self.positions} do not go with patches or layout: stored, which are an order "
                "of sincos positions"
            )
        return self

    @model_validator(mode="after")
    def _seen(self) -> Self:
        if not self.attention and self.class_token:
            raise ValueError("attention: false needs class_token: false, since that token would see no patch")
        return self


class ModelConfig(EncoderConfig):
    """The encoder, what of its tokens it gives, and the weights that it starts from."""

    pool: Literal["mean", "cls"] = Field(
        default="mean",
        description="What the encoder gives: the mean of the patch tokens, or the class token.",
    )
    drop_path: Fraction = Field(
        default=0.0,
        description="In training, how often a sample passes by the attention, or the MLP, of the last block; "
        "it rises evenly from 0 at the first (stochastic depth).",
    )
    init: str | None = Field(
        default=None,
        description="Run or checkpoint whose encoder training starts from, such as one of simtrain pretrain; "
        "in a run folder, sha256: and the hash of those weights.",
    )
    freeze: Literal["none", "all"] | Count = Field(
        default="none",
        description="What stays as model.init has it: the whole encoder (all), or so many first blocks and "
        "the embedding before them.",
    )

    @model_validator(mode="after")
    def _pooled(self) -> Self:
        if self.pool == "cls" and not self.class_token:
            raise ValueError("pool: cls needs class_token: true")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drop_path and self.depth == 1:
            raise ValueError("drop_path: rises from 0 at the first block, so that a depth of 1 drops nothing")
        if self.patches is not None and self.init is not None:
            raise ValueError("patches does not go with init: an encoder brings its own order of patches")
        if isinstance(self.freeze, int) and self.freeze > self.depth:
            raise ValueError(f"freeze: {self.freeze} is more than the {self.depth} blocks there are")
        return self


class ContextConfig(Section):
    """BOLD around a window that the model sees beside it (`simtrain.models.temporal`).

    It ends where BOLD answers film of another set of scenes, or of none. Its blocks have the encoder's sizes.
    """

    before: int = Field(default=0, ge=0, le=99, description="Seconds of BOLD before the window.")
    after: int = Field(default=0, ge=0, le=99, description="Seconds of BOLD after the window.")
    ico: int = Field(
        default=2,
        ge=1,
        le=3,
        description="Icosphere whose faces' mean BOLD the context is given by: 20 * 4**ico.",
    )
    depth: Count = Field(default=2, description="Number of transformer blocks over time.")

    @property
    def seconds(self) -> int:
        """How long the context is, without the window; 0: there is none."""
        return self.before + self.after


class ProjectorConfig(Section):
    """The projectors from each modality's features into the common space."""

    dim: Count = Field(default=384, description="Dimensions of the common space.")
    dropout: Fraction = Field(default=0.0, description="Dropout in the projectors.")
    stimulus_dropout: Fraction = Field(
        default=0.0, description="Dropout of stimulus features, before their projectors."
    )
    average: Literal["before", "after"] = Field(
        default="after",
        description="Take the mean of fMRI's tokens before the projector, or of its outputs after it; there "
        "is none with model.pool: cls.",
    )


class MaskingConfig(Section):
    """The masked autoencoder (`simtrain.models.mae`): which patches are hidden, and what predicts them."""

    mask: Literal["tubes", "random"] = Field(
        default="tubes",
        description="Hide a patch in all frames (tubes), or at random: other patches in each frame, or, with "
        "model.temporal concat, any tokens of the window.",
    )
    ratio: float = Field(
        default=0.75, ge=0.05, le=0.95, strict=False, description="Share of patches to hide."
    )
    loss: Literal["mse", "l1"] = Field(default="mse", description="The error: squared, or absolute (l1).")
    counted: Literal["cortex", "hidden", "all"] = Field(
        default="cortex",
        description="What the error is the mean over: the hidden values in the cortex (cortex), all hidden "
        "ones, of the medial wall too, as published (hidden), or all, hidden or not (all).",
    )
    normalise_target: bool = Field(
        default=False, description="Predict a token with its own mean taken off and divided by its s.d."
    )
    decoding: Literal["linear", "per_patch", "pca"] = Field(
        default="linear",
        description="From a token of the decoder to the values of its patch: a linear map shared by all "
        "patches (linear), one for each patch (per_patch), or one for each patch to its main components in "
        "training windows (pca).",
    )
    components: Count = Field(
        default=12, description="With decoding pca: main components of a patch that are predicted."
    )
    summary: bool = Field(
        default=False,
        description="Whether a hidden token begins with the mean of what the encoder gives of the visible "
        "ones, beside its learned vector; with mask random, only if model.temporal is concat.",
    )
    decoder_dim: int = Field(default=192, gt=0, multiple_of=2, description="Width of a token in the decoder.")
    decoder_depth: Count = Field(default=3, description="Number of transformer blocks in the decoder.")
    decoder_heads: Count = Field(default=3, description="Attention heads of a block in the decoder.")
    decoder_dim_head: Count = Field(default=64, description="Width of an attention head in the decoder.")
