"""The encoders of a configuration, what of them is kept from training, and what they need."""

from __future__ import annotations

from functools import partial

from simtrain.config.model_sections import EncoderConfig
from simtrain.config.schema import Config, PretrainConfig
from simtrain.models import losses
from simtrain.models.patch_embeddings import find
from simtrain.models.sit import SiT
from simtrain.models.temporal import ContextTransformer


def surface_encoder(model: EncoderConfig, patches: tuple[int, int], frames: int) -> SiT:
    """A new encoder for windows of ``frames``.

    Parameters
    ----------
    patches : number of patches, and of vertices in one
    """
    not_sizes = {"ico", "patches", "patch_embedding", "components", "init", "freeze", "drop_path"}
    sizes, kind = model.model_dump(exclude=not_sizes), find(model.patch_embedding)
    embedding = partial(kind, **{name: getattr(model, name) for name in kind.options})
    return SiT(
        patches=patches[0], patch_size=patches[1] * frames, frames=frames, embedding=embedding, **sizes
    )


def context_transformer(config: Config, patches: int) -> ContextTransformer:
    """A new one for the windows of a configuration; its blocks have the sizes of the encoder's.

    Parameters
    ----------
    patches : number of them, whose means it sees
    """
    model, context = config.model, config.context
    return ContextTransformer(
        patches=patches,
        before=context.before,
        frames=config.data.frames,
        after=context.after,
        dim=model.dim,
        depth=context.depth,
        heads=model.heads,
        dim_head=model.dim_head,
        hidden=model.mlp_ratio * model.dim,
        dropout=model.dropout,
    )


def must_have_parts(config: Config | PretrainConfig) -> None:
    """See that what a configuration names for its model can be made.

    Raises
    ------
    UserError
        If its patch embedding or its loss cannot.
    """
    find(config.model.patch_embedding)
    if isinstance(config, Config):
        losses.configured(config)


def freeze(encoder: SiT, how_much: str | int) -> None:
    """Take weights out of training: "none", "all", or so many blocks and what is before them."""
    if how_much == "all":
        encoder.requires_grad_(False)
    elif how_much != "none":
        before = (
            encoder.embed,
            encoder.class_token,
            encoder.frame_embedding,
            encoder.positions,
            encoder.to_place,
        )
        for part in (*before, *encoder.blocks[:how_much]):
            if part is not None:
                part.requires_grad_(False)
