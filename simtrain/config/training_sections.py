"""Sections ``loss`` and ``train`` of a configuration: how it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from simtrain.config.registries import LossName
from simtrain.config.section import Count, Decay, Fraction, Number, Positive, Rate, Section


def _off(value: Any) -> Any:
    """YAML 1.1 reads off as false."""
    return "off" if value is False else value


class WeightsConfig(Section):
    """Weight of each pair of modalities in the loss; renormalised over the pairs in use.

    The three with a default are of kinds: several pairs of the same kinds share them evenly. Two others,
    such as fmri_text, have 0.1 unless they are given a weight.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[
        str,
        Annotated[
            Number,
            Field(
                description="Weight of a pair of named embeddings, such as fmri_video_clip or "
                "video_clip_audio_wav2vec2, instead of its share; or of two other kinds, such as fmri_text."
            ),
        ],
    ] = Field(init=False)

    fmri_video: Number = Field(default=0.8, description="Weight of fMRI and video.")
    fmri_audio: Number = Field(default=0.1, description="Weight of fMRI and audio.")
    video_audio: Number = Field(default=0.1, description="Weight of video and audio.")


class LossConfig(Section):
    """The contrastive loss."""

    kind: LossName = Field(
        default="infonce",
        description="InfoNCE with a learned temperature (infonce), a fixed one (infonce_fixed) or the scales "
        "of SIM's published code (published), the sigmoid loss (siglip), or one of yours.",
    )
    weights: WeightsConfig = WeightsConfig()
    temperature: Annotated[float, Field(ge=0.01, strict=False, allow_inf_nan=False)] | None = Field(
        default=None,
        description="The fixed one, or where the learned one begins; null: the loss's own, such as "
        "0.07 of CLIP, or 0.1 of SigLIP.",
    )
    overlaps: Literal["ignored", "negatives"] = Field(
        default="ignored",
        description="What samples are to each other whose windows overlap in time; negatives, as published.",
    )
    modality_dropout: Fraction = Field(
        default=0.0,
        description="In training, how often a stimulus modality of a sample is left out of the loss; at "
        "least one of them remains.",
    )
    queue: int = Field(
        default=0, ge=0, description="Samples of the last batches that are negatives too; with InfoNCE."
    )


class TrainConfig(Section):
    """The course of training."""

    steps: Count = Field(default=20_000, description="Updates of the weights.")
    batch_size: int = Field(default=64, ge=2, description="Samples of a step, over all processes.")
    learning_rate: Rate = Field(
        default=3e-4, description="The highest learning rate, at the end of the warm-up."
    )
    weight_decay: Decay = Field(default=0.01, description="Weight decay (AdamW).")
    decayed: Literal["matrices", "all"] = Field(
        default="matrices", description="Weights that decay: not biases, norms and the like, or all."
    )
    beta1: Fraction = Field(default=0.9, description="Decay of the moving average of gradients (AdamW).")
    beta2: Fraction = Field(
        default=0.999, description="Decay of the moving average of their squares (AdamW)."
    )
    warmup: Fraction = Field(
        default=0.025,
        description="Share of the steps in which the learning rate rises to its highest.",
    )
    schedule: Literal["cosine", "constant", "step", "plateau"] = Field(
        default="cosine",
        description="The learning rate after the warm-up: a cosine down to 0, constant, or falls by steps "
        "(step) or where validation ceases to improve (plateau).",
    )
    step_every: Count = Field(
        default=100, description="With schedule step: updates from one fall to the next."
    )
    step_factor: Fraction = Field(
        default=0.1, description="With schedule step: what each fall multiplies by."
    )
    plateau_patience: int = Field(
        default=10,
        ge=0,
        description="With schedule plateau: validations in a row that may be no better before a fall.",
    )
    plateau_factor: Fraction = Field(
        default=0.1, description="With schedule plateau: what each fall multiplies by."
    )
    clip_norm: Positive | None = Field(
        default=1.0, description="Gradients of a larger norm are scaled down to it; null: they are not."
    )
    amp: Annotated[Literal["auto", "off", "bf16", "fp16"], BeforeValidator(_off)] = Field(
        default="auto",
        description="Mixed precision; auto: bf16 on CUDA, fp16 where the GPU has no bf16, off on a CPU.",
    )
    seed: int = Field(
        default=0, ge=0, description="Of all that is drawn: weights, order, jitter, dropout and masks."
    )
    balance: Literal["none", "subjects", "clips", "subjects+clips"] = Field(
        default="none",
        description="What has its turn equally often, however many samples it has: subjects, film clips, or "
        "both; none: every sample has.",
    )
    log_every: Count = Field(default=10, description="Steps from one line in the log to the next.")
    validate_every: Count = Field(default=500, description="Steps from one validation to the next.")
    validation_samples: int = Field(
        default=1024, ge=2, description="The most samples that a validation looks at."
    )
    checkpoint_every: Count = Field(default=500, description="Steps from one checkpoint to the next.")
    accumulate: Count = Field(
        default=1,
        description="Parts in which a batch goes through the network: the same result in less memory.",
    )
    ema: Fraction | None = Field(
        default=None,
        description="Decay of the moving average of the weights that validation and retrieval use; null: "
        "they use the weights.",
    )
    best_by: Literal["retrieval", "loss", "pairs"] | None = Field(
        default="retrieval",
        description="The weights that are kept for tests are the best by validation's retrieval "
        "(val/retrieval), its loss, or the plain mean of its losses of pairs, as published; null: none are "
        "kept, and the last are tested.",
    )
    patience: Count | None = Field(
        default=None,
        description="Training ends after so many validations in a row that are not better by best_by; null: "
        "it doesn't.",
    )
    compile: bool = Field(default=False, description="Compile the transformer's blocks.")

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.patience is not None and self.best_by is None:
            raise ValueError("patience needs best_by: it says what a better validation is")
        if self.schedule == "plateau" and self.best_by is None:
            raise ValueError("schedule plateau needs best_by: it says what a better validation is")
        return self


class PretrainTrainConfig(TrainConfig):
    """The course of pretraining."""

    best_by: Literal["loss"] | None = Field(
        default="loss",
        description="The weights that are kept to start from are the best by validation's loss; null: none "
        "are kept, and the last are used.",
    )
