"""A batch larger than memory, in parts (GradCache: Gao et al. 2021, arXiv 2101.06983).

A contrastive loss needs the embeddings of the whole batch, so the losses of its parts do not add up to it.
Instead the parts are embedded without a graph, the loss of all of them gives the gradient of every embedding,
and each part is embedded once more to take its gradient to the weights. The sum is exactly the gradient of
the whole batch, for the memory of a part and the price of a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from simtrain.data.feeds import Batch

Embeddings = Mapping[str, Tensor]
Losses = tuple[Tensor, dict[str, Tensor]]


def split(batch: Batch, parts: int) -> list[Batch]:
    """The batch in ``parts`` of nearly the same size, or as many as it has samples."""
    parts = min(parts, len(batch.samples))
    pieces = zip(np.array_split(batch.samples, parts), batch.stored.tensor_split(parts), strict=True)
    return [Batch(samples, stored, batch.note) for samples, stored in pieces]


def backward(
    parts: list[Batch],
    embed: Callable[[int, Batch], Embeddings],
    losses: Callable[[Embeddings], Losses],
    scale: Callable[[Tensor], Tensor],
) -> Losses:
    """Add the gradients of the loss of all ``parts`` to the weights, and return the losses.

    Parameters
    ----------
    embed : (n, dim) of each modality of the part of a number; called twice, it must give the same, so it
        seeds what dropout draws from
    losses : from the embeddings of all parts
    scale : of the loss, before its gradient is taken
    """
    with torch.no_grad():
        pieces = [embed(number, part) for number, part in enumerate(parts)]
    whole = {name: torch.cat([piece[name] for piece in pieces]).requires_grad_() for name in pieces[0]}
    loss, named = losses(whole)
    scale(loss).backward()
    # A modality of no weight in the loss has no gradient.
    gradients = {
        name: values.grad.tensor_split(len(parts))
        for name, values in whole.items()
        if values.grad is not None
    }
    for number, part in enumerate(parts):
        again = embed(number, part)
        trained = [name for name in gradients if again[name].requires_grad]
        torch.autograd.backward(
            [again[name] for name in trained], [gradients[name][number] for name in trained]
        )
    return loss, named
