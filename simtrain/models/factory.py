"""The surface encoder of a configuration, and what of it is kept from training."""

from __future__ import annotations

from simtrain.config.schema import Encoder
from simtrain.models.sit import SiT


def surface_encoder(model: Encoder, patches: tuple[int, int], frames: int) -> SiT:
    """A new encoder for windows of ``frames``.

    Parameters
    ----------
    patches : number of patches, and of vertices in one
    """
    sizes = model.model_dump(exclude={"ico", "patches", "init", "freeze"})
    return SiT(patches=patches[0], patch_size=patches[1] * frames, frames=frames, **sizes)


def freeze(encoder: SiT, how_much: str | int) -> None:
    """Take weights out of training: "none", "all", or the embedding, class token and that many blocks."""
    if how_much == "all":
        encoder.requires_grad_(False)
    elif how_much != "none":
        encoder.class_token.requires_grad_(False)
        if encoder.temporal == "concat":
            encoder.frame_embedding.requires_grad_(False)
        for part in (encoder.embed, *encoder.blocks[:how_much]):
            part.requires_grad_(False)
