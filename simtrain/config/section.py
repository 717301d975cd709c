"""What sections of a configuration are made of: a strict model, and the kinds of numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST = 100  # s, of a window, and of one with its context
Count = Annotated[int, Field(gt=0)]
# Not strict, since YAML 1.1 reads 3e-4 as text.
Number = Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
# Beyond these the optimiser's own factors do not fit into float32.
Rate = Annotated[float, Field(gt=0, le=1e30, strict=False)]
Decay = Annotated[float, Field(ge=0, le=1e6, strict=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=False)]


class Section(BaseModel):
    """A section: its keys and no others, of these types, that do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
