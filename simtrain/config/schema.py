"""Training configuration: typed, validated YAML.

The defaults are the encoder and the projectors of SIM (Dahan et al., ICLR 2025, arXiv 2501.16471), tiny, and
a course of training of our own: docs/published.md has every difference to the published code. A preset, a
file or an override states only what differs from them; the run folder keeps the whole. A default stays as it
is, since runs from before a key was there take it: what has turned out better is a matter of presets. What a
key means stands in its section (`data_sections`, `model_sections`, `training_sections`) and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import Field, model_validator

from simdata.common.nested import leaves
from simtrain.config import modalities as named
from simtrain.config.data_sections import DataConfig, WindowConfig
from simtrain.config.modalities import Pair
from simtrain.config.model_sections import (
    ContextConfig,
    EncoderConfig,
    MaskingConfig,
    ModelConfig,
    ProjectorConfig,
)
from simtrain.config.section import LONGEST, Section
from simtrain.config.training_sections import LossConfig, PretrainTrainConfig, TrainConfig

DEFAULT_PRESET = "sim-tiny"

Modality = Annotated[str, Field(pattern=f"^({named.PATTERN})$")]


class BaseConfig(Section):
    """All that determines a run, but for the store and the device."""

    folder: ClassVar[str]  # of its presets, below simtrain.config.presets

    def to_yaml(self) -> str:
        """The configuration as a file holds it, with all keys."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class PretrainConfig(BaseConfig):
    """What `simtrain pretrain` does: the decoder's sizes are those of vsMAE, the rest is as for `Config`.

    The preset vsmae is the published model, with a token for each patch and frame.
    """

    folder = "pretrain"

    data: WindowConfig = WindowConfig()
    model: EncoderConfig = EncoderConfig()
    mae: MaskingConfig = MaskingConfig()
    train: PretrainTrainConfig = PretrainTrainConfig()

    @model_validator(mode="after")
    def _maskable(self) -> Self:
        if self.model.temporal not in ("channels", "concat"):
            raise ValueError(
                f"model.temporal: {self.model.temporal} is not for pretraining: give channels, a token for "
                "each patch, or concat, one for each patch and frame"
            )
        if self.mae.summary and self.mae.mask == "random" and self.model.temporal == "channels":
            raise ValueError(
                "mae.mask: random needs mae.summary: false, since the encoder sees every token, or "
                "model.temporal: concat"
            )
        if self.mae.decoding == "pca" and self.mae.normalise_target:
            raise ValueError(
                "mae.normalise_target: true does not go with mae.decoding: pca, whose components are of "
                "values as they are"
            )
        return self


class Config(BaseConfig):
    """What `simtrain fit` does."""

    folder = "."

    modalities: tuple[Modality, ...] = Field(
        default=("fmri", "video", "audio"),
        min_length=2,
        strict=False,
        description="What is aligned: fmri with video, audio, text, or embeddings by name, such as "
        "video_clip.",
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    context: ContextConfig = ContextConfig()
    projector: ProjectorConfig = ProjectorConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("modalities names one twice")
        if "fmri" not in self.modalities:
            raise ValueError("modalities must contain fmri")
        if wrong := [name for name in self.stimuli if named.kind(name) == "fmri"]:
            raise ValueError(f"modalities has {wrong[0]}: no embedding of a film is called so")
        keys = {of(pair) for pair in self.pair_weights for of in (named.key, named.kinds)}
        if unknown := sorted(set(self.loss.weights.__pydantic_extra__) - keys):
            raise ValueError(
                f"loss.weights has {', '.join(unknown)}, but the pairs in use are {', '.join(sorted(keys))}"
            )
        if self.loss.modality_dropout and len(self.stimuli) < 2:
            raise ValueError(
                "loss.modality_dropout: needs two modalities of the film, of which one remains; there is "
                f"{', '.join(self.stimuli)}"
            )
        if not any(self.pair_weights.values()):
            raise ValueError(
                f"loss.weights are all 0 for the modalities in use, {', '.join(self.modalities)}"
            )
        return self

    @model_validator(mode="after")
    def _in_reach(self) -> Self:
        if (seconds := self.data.frames + self.context.seconds) > LONGEST:
            raise ValueError(
                f"context: before and after are {self.context.seconds} s, and {seconds} s with data.frames: "
                f"at most {LONGEST} s are possible"
            )
        return self

    @property
    def stimuli(self) -> tuple[str, ...]:
        """The modalities in use but fmri."""
        return tuple(modality for modality in self.modalities if modality != "fmri")

    @property
    def pair_weights(self) -> dict[Pair, float]:
        """Weight of each pair of modalities in use, before renormalisation."""
        return named.weigh(self.modalities, self.loss.weights.model_dump())


SomeConfig = TypeVar("SomeConfig", bound=BaseConfig)
AnyConfig = TypeVar("AnyConfig", Config, PretrainConfig)
Changes = dict[str, tuple[Any, Any]]


def changes(one: BaseConfig, other: BaseConfig) -> Changes:
    """Every key whose value differs, with both values."""
    flat_one, flat_other = leaves(one.model_dump(mode="json")), leaves(other.model_dump(mode="json"))
    keys = dict.fromkeys([*flat_one, *flat_other])
    found = {key: (flat_one.get(key), flat_other.get(key)) for key in keys}
    return {key: (before, now) for key, (before, now) in found.items() if before != now}
