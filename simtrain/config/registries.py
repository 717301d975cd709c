"""What other packages can add to a configuration, by name (`simdata.common.registry`).

A configuration is checked without an import of what it names: that is for who uses it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo

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


def _told(registry: Registry) -> FieldInfo:
    """What may be given, for `simtrain.config.reference`."""

    def add(schema: dict[str, Any]) -> None:
        names, imported = registry.names(), {"type": "string", "format": "my_module:MyClass"}
        schema["anyOf"] = [{"type": "string", "enum": names}, imported]

    info: FieldInfo = Field(json_schema_extra=add)
    return info


LossName = Annotated[str, _known(LOSSES), _told(LOSSES)]
PatchEmbeddingName = Annotated[str, _known(PATCH_EMBEDDINGS), _told(PATCH_EMBEDDINGS)]
