"""Contrastive losses between pairs of modalities, all of them without false negatives.

InfoNCE with a learned temperature (CLIP: Radford et al. 2021, arXiv 2103.00020), with a fixed one, and the
sigmoid loss (SigLIP: Zhai et al. 2023, arXiv 2303.15343). That of SIM's published code is in
`published_loss`. Other packages can add theirs (`Contrastive`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from simdata.common.errors import UserError
from simtrain.config.registries import LOSSES
from simtrain.config.schema import Config
from simtrain.models.queue import Queued

LARGEST_SCALE = 100.0  # as CLIP: a sharper softmax makes training unstable
FIRST_BIAS = -10.0  # as SigLIP: at first nearly all pairs are negatives


Compared = Mapping[str, Tensor]


class More(NamedTuple):
    """(n, queue) similarities of a pair's rows and of its columns to what is queued of the other modality."""

    rows: Tensor
    columns: Tensor
    ignore: Tensor

    @classmethod
    def of(cls, embeddings: Mapping[str, Tensor], queued: Queued, one: str, other: str) -> More:
        rows = embeddings[one] @ queued.embeddings[other].T
        columns = embeddings[other] @ queued.embeddings[one].T
        return cls(rows, columns, queued.ignore)

    def among(self, kept: Tensor) -> More:
        """Of the rows and columns ``kept`` (n,) bool."""
        return More(self.rows[kept], self.columns[kept], self.ignore[kept])


class Contrastive(nn.Module):
    """The weighted mean of a loss over pairs of modalities: what every loss is a subclass of.

    A subclass says in `pair` what the loss of one pair is. It is registered under the entry point group
    ``simtrain.losses``, or named as ``package.module:Class``.

    Parameters
    ----------
    weights : weight of each pair; renormalised to a sum of 1
    temperature : where the learned one begins, or the fixed one; None: ``first_temperature``

    Attributes
    ----------
    log_scale : scalar float32, -log of the temperature; a parameter, or a buffer if it is fixed
    first_temperature, learns_temperature : of the class; the temperature divides cosine similarities
    takes_queue : of the class: whether `pair` takes negatives of earlier batches (``loss.queue``)

    Examples
    --------
    >>> class Margin(Contrastive):
    ...     learns_temperature = False
    ...
    ...     def pair(self, similarity, ignore, more=None):
    ...         too_near = (0.2 + similarity - similarity.diagonal()[:, None]).relu()
    ...         negative = ~ignore & ~torch.eye(len(ignore), dtype=torch.bool, device=ignore.device)
    ...         return too_near[negative].mean()
    >>> loss = Margin({("fmri", "video"): 1.0})
    >>> similarity = torch.tensor([[0.5, 0.4], [0.1, 0.5]])
    >>> round(float(loss.pair(similarity, torch.zeros(2, 2, dtype=torch.bool))), 4)
    0.05
    """

    first_temperature: ClassVar[float] = 0.07
    learns_temperature: ClassVar[bool] = True
    takes_queue: ClassVar[bool] = False
    log_scale: Tensor

    def __init__(self, weights: Mapping[tuple[str, str], float], temperature: float | None = None) -> None:
        super().__init__()
        total = sum(weights.values())
        self.weights = {pair: weight / total for pair, weight in weights.items() if weight}
        log_scale = torch.tensor(-math.log(self.first_temperature if temperature is None else temperature))
        if self.learns_temperature:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    @property
    def temperature(self) -> float:
        return float(torch.exp(-self.log_scale.detach()))

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        ignore: Tensor,
        queued: Queued | None = None,
        compared: Compared | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and of each pair.

        Parameters
        ----------
        embeddings : (n, dim) float32 of unit length for each modality
        ignore : (n, n) bool, pairs that are neither positive nor negative
        queued : more negatives, for a loss that takes them
        compared : (n,) bool of some modalities, which samples are compared by it; None, or not there: all

        Returns
        -------
        loss : scalar
        parts : the unweighted loss of each pair, named such as ``fmri-video``

        Raises
        ------
        UserError
            If `pair` gives something else than a scalar with a gradient.
        """
        parts = {}
        for one, other in self.weights:
            similarity = self.similarity(embeddings, one, other)
            more = () if queued is None else (More.of(embeddings, queued, one, other),)
            given = _among(compared or {}, (one, other), similarity, ignore, *more)
            # Of nothing to compare, the loss is 0, with a gradient of 0.
            loss = self.pair(*given) if len(given[0]) else 0 * similarity.sum()
            parts[f"{one}-{other}"] = self._scalar(loss, similarity)
        shares = [weight * part for weight, part in zip(self.weights.values(), parts.values(), strict=True)]
        return reduce(torch.add, shares), parts

    def similarity(self, embeddings: Mapping[str, Tensor], one: str, other: str) -> Tensor:
        """(n, n) cosine similarities of a pair of modalities, which `pair` is given."""
        return embeddings[one] @ embeddings[other].T

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """The loss of (n, n) cosine similarities whose diagonal are the positives: a scalar.

        Parameters
        ----------
        similarity : (n, n) float32
        ignore : (n, n) bool: of no influence
        more : to further negatives, as `forward` was given them; given if there are any
        """
        raise NotImplementedError

    def _scalar(self, value: Tensor, similarity: Tensor) -> Tensor:
        found = type(value).__name__
        if isinstance(value, Tensor):
            if value.shape == () and value.requires_grad >= similarity.requires_grad:
                return value
            found = (
                f"a tensor of shape {tuple(value.shape)}{'' if value.requires_grad else ' without gradient'}"
            )
        raise UserError(
            f"loss {type(self).__name__}: pair gave {found}; it must give a scalar tensor, worked out of "
            "similarity by torch"
        )


def _among(
    compared: Compared, pair: tuple[str, str], similarity: Tensor, ignore: Tensor, *more: More
) -> tuple[Any, ...]:
    """What `Contrastive.pair` is given of the samples that are compared by both modalities of a pair."""
    masks = [compared[modality] for modality in pair if modality in compared]
    if not masks:
        return similarity, ignore, *more
    kept = torch.stack(masks).all(dim=0)
    within = (values[kept][:, kept] for values in (similarity, ignore))
    return *within, *(one.among(kept) for one in more)


class InfoNCE(Contrastive):
    """Symmetric InfoNCE with a learned temperature."""

    takes_queue = True

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        ignore: Tensor,
        queued: Queued | None = None,
        compared: Compared | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.log_scale.requires_grad:
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        return super().forward(embeddings, ignore, queued, compared)

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """Mean over rows and columns of the cross entropy of the diagonal, without the pairs to ignore."""
        directions = [(similarity, ignore), (similarity.T, ignore.T)]
        if more is not None:
            directions = [
                (torch.cat([within, beyond], dim=1), torch.cat([ignored, more.ignore], dim=1))
                for (within, ignored), beyond in zip(directions, (more.rows, more.columns), strict=True)
            ]
        truth = torch.arange(len(similarity), device=similarity.device)
        one, other = (
            cross_entropy((self.log_scale.exp() * values).masked_fill(ignored, -torch.inf), truth)
            for values, ignored in directions
        )
        return (one + other) / 2


class FixedInfoNCE(InfoNCE):
    """Symmetric InfoNCE with a fixed temperature."""

    learns_temperature = False


class SigLIPLoss(Contrastive):
    """The sigmoid loss: every pair is a yes or no of its own, with a learned scale and bias."""

    first_temperature = 0.1

    def __init__(self, weights: Mapping[tuple[str, str], float], temperature: float | None = None) -> None:
        super().__init__(weights, temperature)
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """The sum over all pairs but those in ``ignore``, divided by the number of positives."""
        logits = self.log_scale.exp() * similarity + self.bias
        sign = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -logsigmoid(sign * logits).masked_fill(ignore, 0.0).sum() / len(logits)


def contrastive(
    kind: str, weights: Mapping[tuple[str, str], float], temperature: float | None
) -> Contrastive:
    """The loss of a name; without a temperature, it begins at the loss's own.

    Raises
    ------
    UserError
        If there is none, it cannot be imported, or it is no `Contrastive`.
    """
    found = LOSSES.subclass(kind, Contrastive)
    if found.pair is Contrastive.pair and found.forward is Contrastive.forward:
        raise UserError(f"loss {LOSSES.place(kind)}: has no method pair(similarity, ignore)")
    more = ("more",) if found.takes_queue else ()
    LOSSES.must_take(kind, found, "weights", "temperature")
    LOSSES.must_take(kind, found.pair, "self", "similarity", "ignore", *more)
    return found(weights, temperature)


def configured(config: Config) -> Contrastive:
    """The loss of a configuration.

    Raises
    ------
    UserError
        As `contrastive`, and if it does not go with the configuration's queue.
    """
    loss = contrastive(config.loss.kind, config.pair_weights, config.loss.temperature)
    if config.loss.modality_dropout:
        arguments = ("self", "embeddings", "ignore", "queued")
        LOSSES.must_take(config.loss.kind, type(loss).forward, *arguments, keywords=("compared",))
    if config.loss.queue and not loss.takes_queue:
        raise UserError(
            f"loss.queue does not go with {config.loss.kind}, whose loss is one of the pairs in a batch"
        )
    if config.loss.queue and config.loss.overlaps == "negatives":
        raise UserError("loss.queue does not go with loss.overlaps: negatives, which no queue looks at")
    return loss


def false_negatives(movie: np.ndarray, second: np.ndarray, window: int) -> np.ndarray:
    """(n, n) bool: different samples of the same movie whose windows of ``window`` s overlap in time.

    That includes the same moment in another subject or in the other hemisphere.
    """
    same_movie = movie[:, None] == movie[None, :]
    overlap = np.abs(second[:, None].astype(np.int64) - second[None, :]) < window
    return same_movie & overlap & ~np.eye(len(movie), dtype=bool)
