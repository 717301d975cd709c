"""Training configuration: typed, validated YAML.

The defaults are SIM as published (Dahan et al., ICLR 2025, arXiv 2501.16471) with the tiny encoder. A
preset, a file or ``--set`` states only what differs from them; the run folder keeps the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.nested import leaves
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simtrain.config import modalities as named
from simtrain.config.modalities import Pair

DEFAULT_PRESET = "sim-tiny"

Modality = Annotated[str, Field(pattern=f"^({named.PATTERN})$")]
Count = Annotated[int, Field(gt=0)]
# Not strict, since YAML 1.1 reads 3e-4 as text.
Number = Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False)]
# Beyond these the optimiser's own factors do not fit into float32.
Rate = Annotated[float, Field(gt=0, le=1e30, strict=False)]
Decay = Annotated[float, Field(ge=0, le=1e6, strict=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=False)]


def _off(value: Any) -> Any:
    """YAML 1.1 reads off as false."""
    return "off" if value is False else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Window(_Strict):
    """``frames`` s of BOLD, ``lag`` s behind the stimulus; None: the store's lag.

    With one of the ``hemispheres`` alone, the other is neither read nor tested.
    """

    frames: Annotated[int, Field(ge=1, le=16)] = 3
    lag: Annotated[int, Field(ge=0)] | None = None
    hemispheres: Literal["both", "L", "R"] = "both"

    @property
    def sides(self) -> tuple[int, ...]:
        """Positions of the hemispheres in a store."""
        return (0, 1) if self.hemispheres == "both" else ("LR".index(self.hemispheres),)


class Data(Window):
    """What a sample is made of: a window of BOLD, and the stimulus clip that it answers.

    ``video`` and ``audio`` name the encoders that the modalities ``video`` and ``audio`` stand for, None: the
    store's only one. In training, ``lag_jitter`` is the most s by which the lag of a sample may differ from
    ``lag``.
    """

    video: str | None = None
    audio: str | None = None
    lag_jitter: Annotated[int, Field(ge=0)] = 0


class Encoder(_Strict):
    """The surface vision transformer: patches are the faces of icosphere ``ico``.

    ``final_norms`` and ``layout`` are for weights that were made elsewhere (`simtrain import-weights`): two
    layer norms at the end; positions and the order in a patch kept with the weights. ``temporal`` is what
    becomes of the frames of a window (`simtrain.models.sit.SiT`); ``checkpointing`` trades time for memory.
    ``patches`` is a CSV file with the patches in another order (`models.patch_table`); in a run folder, its
    hash.
    """

    ico: Annotated[int, Field(ge=1, le=5)] = 3
    dim: Annotated[int, Field(gt=0, multiple_of=2)] = 192
    depth: Count = 12
    heads: Count = 3
    dim_head: Count = 64
    mlp_ratio: Count = 4
    dropout: Fraction = 0.0
    final_norms: Literal[1, 2] = 1
    layout: Literal["geometry", "stored"] = "geometry"
    temporal: Literal["channels", "concat", "average"] = "channels"
    checkpointing: bool = False
    patches: str | None = None


class Model(Encoder):
    """The encoder, what of its tokens it gives, and the weights that it starts from.

    ``init`` is a run or a checkpoint whose encoder it takes, such as that of `simtrain pretrain`; in a run
    folder, ``sha256:`` and the hash of those weights. ``freeze`` keeps the first blocks and the embedding
    before them as they are, or the whole encoder.
    """

    pool: Literal["mean", "cls"] = "mean"
    init: str | None = None
    freeze: Literal["none", "all"] | Count = "none"

    @model_validator(mode="after")
    def _freezable(self) -> Self:
        if self.patches is not None and self.init is not None:
            raise ValueError("patches does not go with init: an encoder brings its own order of patches")
        if self.freeze != "none" and self.init is None:
            raise ValueError("freeze needs init: there is no use in keeping random weights")
        if self.freeze not in ("none", "all") and self.freeze > self.depth:
            raise ValueError(f"freeze: {self.freeze} is more than the {self.depth} blocks there are")
        return self


class Projector(_Strict):
    """From each modality's features into the common space of ``dim`` dimensions.

    ``average``: the mean over fMRI's tokens is taken before the projector, or after it, of its outputs; there
    is none with ``model.pool: cls``.
    """

    dim: Count = 384
    dropout: Fraction = 0.0
    average: Literal["before", "after"] = "after"


class Weights(_Strict):
    """Weight of each pair of modalities in the loss; renormalised over the pairs in use.

    These three are of kinds: several pairs of the same kinds share them evenly. A pair of named embeddings
    can have a weight of its own, such as ``fmri_video_clip`` or ``video_clip_audio_wav2vec2``.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number]

    fmri_video: Number = 0.8
    fmri_audio: Number = 0.1
    video_audio: Number = 0.1


class Loss(_Strict):
    """The contrastive loss: InfoNCE with a learned or a fixed temperature, or the sigmoid loss.

    ``temperature`` is the fixed one, or where the learned one begins; None: 0.07, and 0.1 with siglip, as
    published. ``queue`` is how many samples of the last batches are negatives too (`simtrain.models.queue`).
    """

    kind: Literal["infonce", "infonce_fixed", "siglip"] = "infonce"
    weights: Weights = Weights()
    temperature: Annotated[float, Field(ge=0.01, strict=False, allow_inf_nan=False)] | None = None
    queue: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _softmax_for_a_queue(self) -> Self:
        if self.queue and self.kind == "siglip":
            raise ValueError("queue does not go with siglip, whose loss is one of the pairs in a batch")
        return self


class Train(_Strict):
    """The course of training.

    ``warmup`` is the share of the steps in which the learning rate rises, before it falls as a cosine;
    ``validation_samples`` bounds what one validation looks at. ``accumulate`` puts a batch through the
    network in so many parts, for the same result in less memory. ``ema`` is the decay of the moving average
    of the weights that validation and retrieval use; ``patience`` ends training after so many validations in
    a row without a better val/loss, and keeps the best weights for retrieval. ``compile`` compiles the
    transformer's blocks.
    """

    steps: Count = 20_000
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Rate = 3e-4
    weight_decay: Decay = 0.01
    warmup: Fraction = 0.025
    clip_norm: Positive = 1.0
    amp: Annotated[Literal["auto", "off", "bf16", "fp16"], BeforeValidator(_off)] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    log_every: Count = 10
    validate_every: Count = 500
    validation_samples: Annotated[int, Field(ge=2)] = 1024
    checkpoint_every: Count = 500
    accumulate: Count = 1
    ema: Fraction | None = None
    patience: Count | None = None
    compile: bool = False


class Masking(_Strict):
    """The masked autoencoder (`simtrain.models.mae`): which patches are hidden, and what predicts them.

    ``normalise_target``: a patch is predicted with its own mean taken off and divided by its s.d.
    """

    mask: Literal["tubes", "random"] = "tubes"
    ratio: Annotated[float, Field(ge=0.05, le=0.95, strict=False)] = 0.75
    normalise_target: bool = False
    decoder_dim: Annotated[int, Field(gt=0, multiple_of=2)] = 192
    decoder_depth: Count = 3
    decoder_heads: Count = 3
    decoder_dim_head: Count = 64


class Recipe(_Strict):
    """All that determines a run, but for the store and the device."""

    folder: ClassVar[str]  # of its presets, below simtrain.config.presets

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class PretrainConfig(Recipe):
    """What `simtrain pretrain` does: masks and decoder as published for vsMAE, the rest as for `Config`."""

    folder = "pretrain"

    data: Window = Window()
    model: Encoder = Encoder()
    mae: Masking = Masking()
    train: Train = Train()

    @model_validator(mode="after")
    def _frames_are_channels(self) -> Self:
        if self.model.temporal != "channels":
            raise ValueError("model.temporal must be channels: the masked autoencoder has no other way")
        return self


class Config(Recipe):
    """What `simtrain fit` does."""

    folder = "."

    modalities: Annotated[tuple[Modality, ...], Field(min_length=2, strict=False)] = (
        "fmri",
        "video",
        "audio",
    )
    data: Data = Data()
    model: Model = Model()
    projector: Projector = Projector()
    loss: Loss = Loss()
    train: Train = Train()

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError("modalities names one twice")
        if "fmri" not in self.modalities:
            raise ValueError("modalities must contain fmri")
        keys = {named.key(pair) for pair in self.pair_weights}
        if unknown := sorted(set(self.loss.weights.__pydantic_extra__) - keys):
            raise ValueError(
                f"loss.weights has {', '.join(unknown)}, but the pairs in use are {', '.join(sorted(keys))}"
            )
        if not any(self.pair_weights.values()):
            raise ValueError(
                f"loss.weights are all 0 for the modalities in use, {', '.join(self.modalities)}"
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


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
Changes = dict[str, tuple[Any, Any]]


def parse(data: Any, origin: str, kind: type[AnyRecipe] = Config) -> AnyRecipe:
    """Validate what YAML gave; ``origin`` names the file in messages.

    Raises
    ------
    UserError
        If keys are unknown or values unfit; every fault is listed with its key.
    """
    return validate(kind, {} if data is None else data, f"{origin} is not a valid configuration")


def load(
    name_or_path: str,
    overrides: Iterable[str] = (),
    modalities: str | None = None,
    kind: type[AnyRecipe] = Config,
) -> AnyRecipe:
    """A shipped preset by name or a YAML file by path, with ``key=value`` overrides on top.

    Parameters
    ----------
    overrides : texts such as ``train.steps=100``; the value is read as YAML
    modalities : comma-separated, as the option of the command line
    """
    data, origin = _read(name_or_path, kind)
    return overridden(data, origin, overrides, modalities, kind)


def overridden(
    data: Any, origin: str, overrides: Iterable[str], modalities: str | None, kind: type[AnyRecipe]
) -> AnyRecipe:
    """As `load`, of what ``origin`` gave."""
    parse(data, origin, kind)
    if modalities is not None:  # first, since they decide which pairs can have a weight
        data = _merge(data, {"modalities": [name.strip() for name in modalities.split(",")]})
        parse(data, f"{origin} with --modalities {modalities}", kind)
    for override in overrides:
        data = _merge(data, _nested(override))
        parse(data, f"{origin} with --set {override}", kind)
    return parse(data, origin, kind)


def presets(kind: type[Recipe] = Config) -> dict[str, str]:
    """Name -> text of the configurations of a kind that come with simtrain."""
    folder = files("simtrain.config.presets") / kind.folder
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {
        entry.name.removesuffix(".yaml"): entry.read_text() for entry in sorted(found, key=lambda e: e.name)
    }


def changes(one: Recipe, other: Recipe) -> Changes:
    """Every key whose value differs, with both values."""
    flat_one, flat_other = leaves(one.model_dump(mode="json")), leaves(other.model_dump(mode="json"))
    keys = dict.fromkeys([*flat_one, *flat_other])
    found = {key: (flat_one.get(key), flat_other.get(key)) for key in keys}
    return {key: (before, now) for key, (before, now) in found.items() if before != now}


def _read(name_or_path: str, kind: type[Recipe]) -> tuple[dict, str]:
    path, known = Path(name_or_path), presets(kind)
    if name_or_path in known:
        text, origin = known[name_or_path], f"preset {name_or_path}"
    elif is_there(path):
        text, origin = read_text(path), str(path)
    else:
        raise UserError(
            f"no configuration {name_or_path!r}: give the path of a YAML file or one of {', '.join(known)}"
        )
    return read_yaml(text, origin), origin


def read_yaml(text: str, origin: str) -> Any:
    """What is in a YAML text, and {} if there is nothing; ``origin`` names it in messages."""
    data = parse_yaml(text, origin)
    return {} if data is None else data


def _nested(override: str) -> dict:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: write key=value, such as train.steps=1000")
    nested = parse_yaml(value, f"--set {override}: the value")
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _merge(base: Any, top: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    return {**base, **{key: _merge(base.get(key), value) for key, value in top.items()}}
