"""Decoders that the user brings: from embeddings of BOLD to pictures, such as a diffusion model.

simtrain hands over embeddings and scores what comes back, as it scores its own reconstructions. A decoder is
``package.module:factory``, or a name under the entry point group ``simtrain.decoders``; the factory is called
without arguments and returns an object with one method, `Decoder.decode`. docs/decoders.md has an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.common.registry import Registry

REGISTRY = Registry("simtrain.decoders", "decoder")
COMMON = "common"


@dataclass(frozen=True)
class Info:
    """What a decoder is told. Which movie or second it decodes is not in it: it must not know.

    Attributes
    ----------
    features : ``"common"``: unit-length embeddings of BOLD in the run's common space; else a variable of the
        store, such as ``video_clip``: a linear prediction of that embedding, in its own units
    attributes : that variable's attributes in the store (encoder, weights_sha256, ...); empty for ``common``
    size : (y, x) pixels at which pictures are scored; others are resized to it
    subject : the subject's id, or ``mean``
    """

    features: str
    attributes: Mapping[str, Any]
    size: tuple[int, int]
    subject: str


class Decoder(Protocol):
    """Makes pictures of embeddings.

    The shortest one, which shows grey::

        class Grey:
            def decode(self, embeddings, info):
                return np.full((len(embeddings), *info.size, 3), 128, np.uint8)

        simtrain reconstruct RUN STORE --decoder my_package.my_module:Grey
    """

    def decode(self, embeddings: np.ndarray, info: Info) -> np.ndarray:
        """One picture for every embedding.

        Parameters
        ----------
        embeddings : (n, dim) float32, one movie of one subject, in order of time
        info : what they are

        Returns
        -------
        (n, y, x, 3) uint8 RGB of any size
        """


def load_decoder(decoder: str | Decoder) -> Decoder:
    """The decoder of a name or ``module:factory``; one that is made already is given back.

    Raises
    ------
    UserError
        If there is no such factory, or it makes something without ``decode``.
    """
    named = isinstance(decoder, str)
    found = REGISTRY.load(decoder)() if isinstance(decoder, str) else decoder
    if not callable(getattr(found, "decode", None)):
        of = f"{decoder}: {type(found).__name__}" if named else f"{type(found).__name__}:"
        raise UserError(f"decoder {of} has no method decode(embeddings, info)")
    return found


def decode(decoder: Decoder, embeddings: np.ndarray, info: Info) -> np.ndarray:
    """(n, y, x, 3) uint8 of the size asked for.

    Raises
    ------
    UserError
        If the decoder gives back something else than one picture for every embedding.
    """
    frames = np.asarray(decoder.decode(embeddings, info))
    expected = (len(embeddings), "y", "x", 3)
    if frames.dtype != np.uint8 or frames.ndim != 4 or (frames.shape[0], frames.shape[3]) != expected[::3]:
        raise UserError(
            f"the decoder {type(decoder).__name__} gave {frames.dtype} of shape {frames.shape}; it must give "
            f"uint8 of shape ({expected[0]}, y, x, 3)"
        )
    return frames if frames.shape[1:3] == info.size else _resized(frames, info.size)


def _resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize with bilinear interpolation, over the whole area of a pixel where it becomes larger."""
    values = torch.tensor(frames).permute(0, 3, 1, 2).float()
    values = torch.nn.functional.interpolate(values, size, mode="bilinear", antialias=True)
    return values.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
