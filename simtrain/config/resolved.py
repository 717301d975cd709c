"""A resolved configuration: what a store had to be looked at for is filled in.

`simtrain.data.dataset.resolve` makes them, and a run folder holds one; as YAML they are what they were made
of, with the values in place. What works on a store takes these types, and so knows its lag.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from simtrain.config import modalities as named
from simtrain.config.data_sections import DataConfig, WindowConfig
from simtrain.config.schema import Config, PretrainConfig

Lag = Annotated[int, Field(ge=0)]


class ResolvedWindow(WindowConfig):
    """A window of BOLD ``lag`` s behind the stimulus."""

    lag: Lag


class ResolvedData(DataConfig):
    """A `DataConfig` with a lag, and with the encoders of the modalities in use."""

    lag: Lag


class ResolvedPretrainConfig(PretrainConfig):
    """What a run of `simtrain pretrain` does on its store."""

    data: ResolvedWindow

    @classmethod
    def of(cls, config: PretrainConfig, lag: int) -> ResolvedPretrainConfig:
        """The configuration with a lag."""
        return cls(
            **{
                **dict(config),
                "data": ResolvedWindow(**{**dict(config.data), "lag": lag}),
            }
        )


class ResolvedConfig(Config):
    """What a run of `simtrain fit` does on its store."""

    data: ResolvedData

    @classmethod
    def of(cls, config: Config, lag: int, encoders: dict[str, str | None]) -> ResolvedConfig:
        """The configuration with a lag, and the encoders of ``video``, ``audio`` and ``text``."""
        return cls(
            **{
                **dict(config),
                "data": ResolvedData(**{**dict(config.data), **encoders, "lag": lag}),
            }
        )

    @property
    def as_tested(self) -> ResolvedConfig:
        """The same, with BOLD normalised as in tests."""
        if self.data.test_normalise is None:
            return self
        data = self.data.model_copy(update={"normalise": self.data.test_normalise})
        return self.model_copy(update={"data": data})

    def variable(self, modality: str) -> str:
        """Name in the store of a stimulus modality."""
        if modality in named.KINDS:
            return f"{modality}_{getattr(self.data, modality)}"
        return modality


Resolved = ResolvedConfig | ResolvedPretrainConfig
AnyResolved = TypeVar("AnyResolved", bound=Resolved)
