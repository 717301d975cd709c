"""What other packages can add to a configuration, by name (`simdata.common.registry`).

A configuration is checked without an import of what it names: that is for who uses it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from simdata.common.errors import UserError
from simdata.common.registry import Registry

LOSSES = Registry("simtrain.losses", "loss")
PATCH_EMBEDDINGS = Registry("simtrain.patch_embeddings", "patch embedding")
# Key of a configuration -> what it takes a name of.
BY_KEY = {"loss.kind": LOSSES, "model.patch_embedding": PATCH_EMBEDDINGS}


def _known(registry: Registry) -> AfterValidator:
    def must_have(text: str) -> str:
        try:
            registry.must_have(text)
        except UserError as error:
            raise ValueError(str(error)) from None  # pydantic adds the key
        return text

    return AfterValidator(must_have)


LossName = Annotated[str, _known(LOSSES)]
PatchEmbeddingName = Annotated[str, _known(PATCH_EMBEDDINGS)]
