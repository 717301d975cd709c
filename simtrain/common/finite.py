"""Whether numbers are finite, and whether embeddings tell anything apart: what every result rests on.

NaN compares with nothing, and equal embeddings with everything alike, so a model of either can come out best
by any rank. So weights are looked at when they are saved and loaded, and embeddings before they are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError

LARGEST = 1e18  # of a weight: the variance of what a larger one gives is beyond float32
# Embeddings have unit length; rounding spreads equal ones over some 1e-6, untrained weights over 0.05.
CONSTANT = 1e-5
UNIT = 1e-3  # by which a length may miss 1
COLLAPSED = (
    "The model has collapsed, its weights are damaged, or what it is given does not vary: train it anew with "
    "a lower train.learning_rate, and look at the store's BOLD and embeddings"
)


def unsound(state: Mapping[str, Any]) -> list[str]:
    """Names of the tensors in a nested state that have a value beyond ``LARGEST``, or one that is not finite.

    On a device all are looked at before the host waits for it, once.
    """
    named = [(name, tensor) for name, tensor in _tensors(state) if tensor.is_floating_point()]
    found = [torch.stack(tensor.detach().aminmax()).abs().amax().double() for _, tensor in named]
    if not found:
        return []
    fine = (torch.stack([value.to(found[0].device) for value in found]) <= LARGEST).tolist()
    return [name for (name, _), good in zip(named, fine, strict=True) if not good]


def must_be_sound(state: Mapping[str, Any], source: object, advice: str) -> None:
    """Refuse weights of NaN, of infinity, or too large to compute with.

    Raises
    ------
    UserError
        Names ``source`` and the first of the tensors, and ends with ``advice``.
    """
    if names := unsound(state):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UserError(f"{source}: {names[0]}{more} is not finite, or too large to compute with: {advice}")


def spread(vectors: Tensor) -> Tensor:
    """How far apart (n, dim) vectors lie: the length of their range. 0 for equal ones."""
    return (vectors.amax(dim=0) - vectors.amin(dim=0)).norm()


class Apart:
    """Embeddings of one modality, part by part: are they finite, of unit length, and not all the same?

    Parameters
    ----------
    modality : such as ``fmri``
    kind : what each of them is of, such as ``windows``
    source : what a message begins with
    """

    def __init__(self, modality: str, kind: str, source: object) -> None:
        self._modality, self._kind, self._source = modality, kind, source
        self._count, self._low, self._high = 0, np.inf, -np.inf

    def add(self, vectors: np.ndarray) -> None:
        """(n, dim) embeddings of different windows or clips.

        Raises
        ------
        UserError
            If one of them is not finite, or has no direction.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(vectors.astype(np.float64), axis=-1)
            bad = ~(np.abs(length - 1) <= UNIT)
        if bad.any():
            what = "have no direction (all zeros)" if (length[bad] == 0).all() else "are not finite"
            raise UserError(
                f"{self._source}: the {self._modality} embeddings of {bad.sum():,} of {len(vectors):,} "
                f"{self._kind} {what}, so that they compare with nothing. {COLLAPSED}"
            )
        if len(vectors):
            self._low = np.minimum(self._low, vectors.min(axis=0))
            self._high = np.maximum(self._high, vectors.max(axis=0))
        self._count += len(vectors)

    def must_differ(self) -> None:
        """Refuse embeddings that are all the same, but for rounding; a single one is not.

        Raises
        ------
        UserError
            If they are.
        """
        if self._count > 1 and np.linalg.norm(self._high - self._low) <= CONSTANT:
            raise UserError(
                f"{self._source}: all {self._count:,} {self._kind} have the same {self._modality} embedding, "
                f"but for rounding: it tells nothing apart, and no result is given. {COLLAPSED}"
            )


def must_tell_apart(vectors: np.ndarray, modality: str, kind: str, source: object) -> None:
    """Refuse (n, dim) embeddings of different windows or clips that no result may rest on, as `Apart`."""
    apart = Apart(modality, kind, source)
    apart.add(vectors)
    apart.must_differ()


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of all that have values, however deep."""
    if isinstance(state, Tensor):
        if state.numel():
            yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, list | tuple):
        for place, value in enumerate(state):
            yield from _tensors(value, f"{name}.{place}")
