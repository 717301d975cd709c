"""Whether several stores are what one model can be trained on: the same lag, and the same embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from simdata.common.errors import UserError
from simtrain.config.resolved import Resolved, ResolvedConfig, ResolvedPretrainConfig
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.collection import parts_of
from simtrain.data.dataset import STIMULI, Dataset, resolve


@overload
def resolve_on_all(config: Config, dataset: Dataset) -> ResolvedConfig: ...
@overload
def resolve_on_all(config: PretrainConfig, dataset: Dataset) -> ResolvedPretrainConfig: ...
def resolve_on_all(config: Config | PretrainConfig, dataset: Dataset) -> Resolved:
    """`simtrain.data.dataset.resolve` on a store, or on each of a collection, which must agree.

    Raises
    ------
    UserError
        As `resolve`, of any of the stores; or if they have another lag or embedding each, and the
        configuration chooses none; or if an embedding is made otherwise in one. All that differs is listed.
    """
    parts = parts_of(dataset)
    found: list[Resolved] = [resolve(config, part) for part in parts]
    if faults := list(_left_open(found, parts)) or list(_made_otherwise(found[0], parts)):
        raise UserError("one model cannot be trained on these stores:\n  " + "\n  ".join(faults))
    return found[0]


def _left_open(found: Sequence[Resolved], parts: Sequence[Dataset]) -> Iterator[str]:
    """What a configuration leaves to the stores, which have it otherwise each."""
    values = {"data.lag": [f"{one.data.lag} s" for one in found]}
    for kind in STIMULI:
        values[f"data.{kind}"] = [str(getattr(one.data, kind, None)) for one in found]
    for key, of in values.items():
        if len(set(of)) > 1:
            yield f"{key} is {_listed(of, parts)}: choose one that all have by `overrides` {key}=..."


def _made_otherwise(config: Resolved, parts: Sequence[Dataset]) -> Iterator[str]:
    """What differs in embeddings of the same name."""
    if isinstance(config, ResolvedPretrainConfig):
        return
    for variable in (config.variable(modality) for modality in config.stimuli):
        own = [part.embedding(variable) for part in parts]
        facts = {
            "features": [str(one.values.shape[-1]) for one in own],
            "s of a clip": [str(one.window) for one in own],
            "encoder, weights and settings": [one.made[:8] for one in own],
        }
        for what, of in facts.items():
            if len(set(of)) > 1:
                yield f"{variable} differs in {what}: {_listed(of, parts)}; embed the films of both alike"
                break


def _listed(values: Sequence[str], parts: Sequence[Dataset]) -> str:
    return ", ".join(f"{value} in {part.path}" for value, part in zip(values, parts, strict=True))
