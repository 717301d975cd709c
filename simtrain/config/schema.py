"""Training configuration: typed, validated YAML.

The defaults are the encoder and the projectors of SIM (Dahan et al., ICLR 2025, arXiv 2501.16471), tiny, and
a course of training of our own: docs/published.md has every difference to the published code. A preset, a
file or an override states only what differs from them; the run folder keeps the whole. A default stays as it
is, since runs from before a key was there take it: what has turned out better is a matter of presets. What a
key means stands here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simdata.common.nested import leaves
from simtrain.config import modalities as named
from simtrain.config.modalities import Pair
from simtrain.config.registries import LossName, PatchEmbeddingName

DEFAULT_PRESET = "sim-tiny"
LONGEST = 100  # s, of a window, and of one with its context

Modality = Annotated[str, Field(pattern=f"^({named.PATTERN})$")]
Count = Annotated[int, Field(gt=0)]
# Not strict, since YAML 1.1 reads 3e-4 as text.
Number = Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
# Beyond these the optimiser's own factors do not fit into float32.
Rate = Annotated[float, Field(gt=0, le=1e30, strict=False)]
Decay = Annotated[float, Field(ge=0, le=1e6, strict=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=False)]


# What is done by vertex over its run comes first: only of that does a store keep what it takes.
Normalise = Literal[
    "vertex-zscore+frame-zscore",
    "vertex-demean+frame-zscore",
    "frame-zscore",
    "vertex-zscore",
    "vertex-demean",
    "none",
]


def _off(value: Any) -> Any:
    """YAML 1.1 reads off as false."""
    return "off" if value is False else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WindowConfig(_Strict):
    """A window of BOLD."""

    frames: int = Field(default=3, ge=1, le=LONGEST, description="Seconds of BOLD in a window.")
    lag: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Seconds by which BOLD is behind the stimulus; null: the store's lag."
    )
    hemispheres: Literal["both", "L", "R"] = Field(
        default="both", description="With one of them alone, the other is neither read nor tested."
    )

    normalise: Normalise = Field(
        default="vertex-zscore+frame-zscore",
        description="What is done to BOLD, in this order: each vertex has its mean over the run taken off, "
        "and is divided by its s.d. (vertex-zscore) or not (vertex-demean); each frame is z-scored over the "
        "cortex (frame-zscore). none: the values of the file, in the scanner's units.",
    )

    moments: Literal["clips", "shown", "any"] = Field(
        default="clips",
        description="Seconds of runs that training and validation take: those that answer a whole clip "
        "within a scene (clips), at which a scene is on screen (shown), or all, rest and test-retest too "
        "(any). What answers a held-out scene, or has its clip, is in none.",
    )

    @property
    def by_vertex(self) -> str:
        """The step of ``normalise`` by vertex, or none."""
        first = self.normalise.partition("+")[0]
        return first if first.startswith("vertex-") else "none"

    @property
    def by_frame(self) -> bool:
        """Whether ``normalise`` z-scores frames."""
        return self.normalise.endswith("frame-zscore")

    @property
    def unit(self) -> str:
        """What BOLD is in behind ``normalise``."""
        return "s.d." if "zscore" in self.normalise else "scanner unit"

    @property
    def sides(self) -> tuple[int, ...]:
        """Positions of the hemispheres in a store."""
        return (0, 1) if self.hemispheres == "both" else ("LR".index(self.hemispheres),)


class DataConfig(WindowConfig):
    """What a sample is made of: a window of BOLD, and the stimulus clip that it answers."""

    test_normalise: Normalise | None = Field(
        default=None,
        description="As normalise, where a trained model is put to use (retrieve, predict, reconstruct, "
        "saliency), but not in validation; null: as in training.",
    )

    video: str | None = Field(
        default=None, description="Encoder that the modality video stands for; null: the store's only one."
    )
    audio: str | None = Field(
        default=None, description="Encoder that the modality audio stands for; null: the store's only one."
    )
    features: Literal["standardised", "raw"] = Field(
        default="standardised",
        description="Stimulus features: with mean 0 and s.d. 1 over the clips of training scenes, or as the "
        "store has them.",
    )
    lag_jitter: int = Field(
        default=0,
        ge=0,
        description="In training, the most seconds by which the lag of a sample may differ from lag.",
    )


class EncoderConfig(_Strict):
    """The surface vision transformer (`simtrain.models.sit.SiT`)."""

    ico: int = Field(default=3, ge=1, le=5, description="Icosphere whose faces are the patches: 20 * 4**ico.")
    dim: int = Field(default=192, gt=0, multiple_of=2, description="Width of a token.")
    depth: Count = Field(default=12, description="Number of transformer blocks.")
    heads: Count = Field(default=3, description="Attention heads of a block.")
    dim_head: Count = Field(default=64, description="Width of an attention head, whatever dim is.")
    mlp_ratio: Count = Field(default=4, description="Width of a block's MLP, in multiples of dim.")
    dropout: Fraction = Field(default=0.0, description="Dropout in the blocks.")
    final_norms: Literal[1, 2] = Field(
        default=1, description="Layer norms at the end; 2 is for published weights (simtrain import-weights)."
    )
    layout: Literal["geometry", "stored"] = Field(
        default="geometry",
        description="Positions, and the order of values in a patch: as the geometry has them, or kept with "
        "the weights (stored), for published ones (simtrain import-weights).",
    )
    temporal: Literal["channels", "concat", "average", "mean_frame"] = Field(
        default="channels",
        description="Frames of a window: channels of a patch's one token; or tokens of their own, in one "
        "sequence (concat), or in one for each frame, and the mean of the results is taken (average); or "
        "their mean is taken for one frame (mean_frame).",
    )
    frame_positions: Literal["learned", "sequence"] = Field(
        default="learned",
        description="With temporal concat, what tells the frames of a patch apart: a learned embedding "
        "(learned), or fixed positions that run on from frame to frame, as published (sequence).",
    )
    class_token: bool = Field(
        default=True, description="Whether a class token goes before the tokens of the patches."
    )
    patch_embedding: PatchEmbeddingName = Field(
        default="linear",
        description="From a patch's values to its token: a linear map shared by all patches (linear), one "
        "for each patch (per_patch), one for each patch from its main components (pca), a shared one from "
        "values that are whitened by patch (whitened), or yours.",
    )
    components: Count = Field(
        default=12,
        description="With patch_embedding pca or whitened: main components of a patch that are kept.",
    )
    positions: Literal["sincos", "learned", "geometric"] = Field(
        default="sincos",
        description="What tells patches apart: sines and cosines of their numbers, as published (sincos), a "
        "learned vector for each (learned), or a learned linear map of spherical harmonics of their centres "
        "(geometric).",
    )
    degree: int = Field(
        default=6, ge=1, le=32, description="With positions geometric: the highest degree of the harmonics."
    )
    attention: bool = Field(
        default=True,
        description="Whether tokens see each other; if not, each goes through the blocks' MLPs by itself.",
    )
    checkpointing: bool = Field(
        default=False,
        description="Work activations out again in the backward pass: less memory for more time.",
    )
    patches: str | None = Field(
        default=None, description="CSV file with the patches in another order; in a run folder, its hash."
    )

    @model_validator(mode="after")
    def _in_one_sequence(self) -> Self:
        if self.frame_positions == "sequence" and self.temporal != "concat":
            raise ValueError("frame_positions: sequence needs temporal: concat, with frames in one sequence")
        if self.frame_positions == "sequence" and self.positions != "sincos":
            raise ValueError(
                f"frame_positions: sequence does not go with positions: {self.positions}, which do not run "
                "on from frame to frame"
            )
        return self

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.positions != "sincos" and (self.layout == "stored" or self.patches is not None):
            raise ValueError(
                f"positions: {self.positions} do not go with patches or layout: stored, which are an order "
                "of sincos positions"
            )
        return self

    @model_validator(mode="after")
    def _seen(self) -> Self:
        if not self.attention and self.class_token:
            raise ValueError("attention: false needs class_token: false, since that token would see no patch")
        return self


class ModelConfig(EncoderConfig):
    """The encoder, what of its tokens it gives, and the weights that it starts from."""

    pool: Literal["mean", "cls"] = Field(
        default="mean",
        description="What the encoder gives: the mean of the patch tokens, or the class token.",
    )
    drop_path: Fraction = Field(
        default=0.0,
        description="In training, how often a sample passes by the attention, or the MLP, of the last block; "
        "it rises evenly from 0 at the first (stochastic depth).",
    )
    init: str | None = Field(
        default=None,
        description="Run or checkpoint whose encoder training starts from, such as one of simtrain pretrain; "
        "in a run folder, sha256: and the hash of those weights.",
    )
    freeze: Literal["none", "all"] | Count = Field(
        default="none",
        description="What stays as model.init has it: the whole encoder (all), or so many first blocks and "
        "the embedding before them.",
    )

    @model_validator(mode="after")
    def _pooled(self) -> Self:
        if self.pool == "cls" and not self.class_token:
            raise ValueError("pool: cls needs class_token: true")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drop_path and self.depth == 1:
            raise ValueError("drop_path: rises from 0 at the first block, so that a depth of 1 drops nothing")
        if self.patches is not None and self.init is not None:
            raise ValueError("patches does not go with init: an encoder brings its own order of patches")
        if isinstance(self.freeze, int) and self.freeze > self.depth:
            raise ValueError(f"freeze: {self.freeze} is more than the {self.depth} blocks there are")
        return self


class ContextConfig(_Strict):
    """BOLD around a window that the model sees beside it (`simtrain.models.temporal`).

    It ends where BOLD answers film of another set of scenes, or of none. Its blocks have the encoder's sizes.
    """

    before: int = Field(default=0, ge=0, le=99, description="Seconds of BOLD before the window.")
    after: int = Field(default=0, ge=0, le=99, description="Seconds of BOLD after the window.")
    ico: int = Field(
        default=2,
        ge=1,
        le=3,
        description="Icosphere whose faces' mean BOLD the context is given by: 20 * 4**ico.",
    )
    depth: Count = Field(default=2, description="Number of transformer blocks over time.")

    @property
    def seconds(self) -> int:
        """How long the context is, without the window; 0: there is none."""
        return self.before + self.after


class ProjectorConfig(_Strict):
    """The projectors from each modality's features into the common space."""

    dim: Count = Field(default=384, description="Dimensions of the common space.")
    dropout: Fraction = Field(default=0.0, description="Dropout in the projectors.")
    stimulus_dropout: Fraction = Field(
        default=0.0, description="Dropout of stimulus features, before their projectors."
    )
    average: Literal["before", "after"] = Field(
        default="after",
        description="Take the mean of fMRI's tokens before the projector, or of its outputs after it; there "
        "is none with model.pool: cls.",
    )


class WeightsConfig(_Strict):
    """Weight of each pair of modalities in the loss; renormalised over the pairs in use.

    The three with a default are of kinds: several pairs of the same kinds share them evenly. Two kinds of
    which one is another, such as fmri_text, have 0.1 unless they are given a weight.
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


class LossConfig(_Strict):
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


class TrainConfig(_Strict):
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


class MaskingConfig(_Strict):
    """The masked autoencoder (`simtrain.models.mae`): which patches are hidden, and what predicts them."""

    mask: Literal["tubes", "random"] = Field(
        default="tubes",
        description="Hide a patch in all frames (tubes), or at random: other patches in each frame, or, with "
        "model.temporal concat, any tokens of the window.",
    )
    ratio: float = Field(
        default=0.75, ge=0.05, le=0.95, strict=False, description="Share of patches to hide."
    )
    loss: Literal["mse", "l1"] = Field(default="mse", description="The error: squared, or absolute (l1).")
    counted: Literal["cortex", "hidden", "all"] = Field(
        default="cortex",
        description="What the error is the mean over: the hidden values in the cortex (cortex), all hidden "
        "ones, of the medial wall too, as published (hidden), or all, hidden or not (all).",
    )
    normalise_target: bool = Field(
        default=False, description="Predict a token with its own mean taken off and divided by its s.d."
    )
    decoding: Literal["linear", "per_patch", "pca"] = Field(
        default="linear",
        description="From a token of the decoder to the values of its patch: a linear map shared by all "
        "patches (linear), one for each patch (per_patch), or one for each patch to its main components in "
        "training windows (pca).",
    )
    components: Count = Field(
        default=12, description="With decoding pca: main components of a patch that are predicted."
    )
    summary: bool = Field(
        default=False,
        description="Whether a hidden token begins with the mean of what the encoder gives of the visible "
        "ones, beside its learned vector; with mask random, only if model.temporal is concat.",
    )
    decoder_dim: int = Field(default=192, gt=0, multiple_of=2, description="Width of a token in the decoder.")
    decoder_depth: Count = Field(default=3, description="Number of transformer blocks in the decoder.")
    decoder_heads: Count = Field(default=3, description="Attention heads of a block in the decoder.")
    decoder_dim_head: Count = Field(default=64, description="Width of an attention head in the decoder.")


class BaseConfig(_Strict):
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
        description="What is aligned: fmri with video, audio, or embeddings by name, such as video_clip.",
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
