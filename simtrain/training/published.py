"""Published weights of SIM and of surface masked autoencoders -> a run folder like any other.

What comes out for a window is what the published architecture gives (`simtrain.models.published_names` says
which code was read, and `simtrain.models.published_frames` what it does with frames), on three conditions
that the weights themselves cannot meet:

* ``--patches``, the table of patches that they were made with. Its patches are the geometry's, but each has
  an order of its own, so that no permutation of the columns of the linear embedding would do. The positions
  are put in the geometry's order of patches, which attention does not see, and the encoder keeps the order in
  each patch (``model.layout: stored``, `simtrain.models.patch_table`).
* BOLD as in the published training, demeaned by vertex and not scaled, and in its retrieval, where frames are
  z-scored over the cortex too: ``data.normalise`` and ``data.test_normalise`` are set.
* features of the same video and audio encoders, which the published code takes as they are: ``data.features:
  raw`` is set.

The published fMRI projector is applied to each token, and the mean over patches taken of its outputs:
``projector.average: after``, which is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simdata.common import json_text
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.release.splits_files import SplitsLike
from simtrain.common.finite import must_be_sound
from simtrain.config import composition
from simtrain.config.resolved import ResolvedConfig
from simtrain.config.schema import Config
from simtrain.data import windows
from simtrain.data.dataset import Dataset, resolve
from simtrain.models.embeddings import must_see
from simtrain.models.learner import Learner
from simtrain.models.patch_table import PatchTable
from simtrain.models.published_frames import TemporalRep, Tokenisation, possible_tokenisations, tokenisation
from simtrain.models.published_names import PublishedEncoder, read_encoder, read_projector
from simtrain.models.sit import SiT
from simtrain.training import checkpoint
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.initial_weights import IMPORTED
from simtrain.training.published_splits import trained_on
from simtrain.training.run_folder import FitRun

DAMAGED = "the file is damaged; fetch it again"
STIMULI = ("video", "audio")  # what the published models know
DIM_HEAD = 64  # of a head, in all published configurations
USUAL = {  # of the published training and test, whatever the weights
    "data.normalise": "vertex-demean",
    "data.test_normalise": "vertex-demean+frame-zscore",
    "data.features": "raw",
    "projector.average": "after",
}


@dataclass(frozen=True)
class Files:
    """What to import: an encoder, and the wrapper (projector) of every modality or of none.

    ``patches`` is a table as `simtrain.surface.patches.read_patches` reads it. ``temporal_rep`` and
    ``frames`` are what the published training did with a window, ``fMRI.temporal_rep`` and
    ``fMRI.nbr_frames`` of its hparams.yml, where the weights do not show it
    (`simtrain.models.published_frames.tokenisation`).
    """

    encoder: Path
    wrappers: Mapping[str, Path]
    patches: Path | None = None
    temporal_rep: TemporalRep | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.wrappers and ("fmri" not in self.wrappers or len(self.wrappers) < 2):
            raise UserError(
                "projectors come together: give `fmri_wrapper` with `video_wrapper` or `audio_wrapper` or "
                "both, or none of them, to import the encoder alone"
            )


def import_weights(
    dataset: Dataset,
    out: Path,
    files: Files,
    overrides: Iterable[str] = (),
    heads: int | None = None,
    splits: SplitsLike | None = None,
) -> FitRun:
    """Make a run folder, at step 0, of published weights; its ``notes`` are what the user should know of it.

    Parameters
    ----------
    overrides : of the configuration, ``key=value``
    heads : attention heads, which the weights do not show; None: as many as give 64 dimensions each
    splits : what the weights were trained on, as `trained_on` takes it

    Raises
    ------
    UserError
        If ``out`` is not a new or empty folder, or weights, table, store and configuration do not fit; or if
        weights are not finite, or make the same of everything in the store.
    """
    if (out / "config.yaml").exists():
        raise UserError(f"{out} holds a run already: give `out` a new or empty folder")
    dataset.must_have_mesh("import-weights: a published model")
    dataset, seen, told = trained_on(dataset, splits)
    published = read_encoder(files.encoder)
    projectors = {modality: read_projector(file) for modality, file in files.wrappers.items()}
    must_be_sound(published.weights, files.encoder, DAMAGED)
    for modality, weights in projectors.items():
        must_be_sound(weights, files.wrappers[modality], DAMAGED)
    modalities = tuple(projectors) or ("fmri", *(name for name in STIMULI if dataset.encoders[name]))
    tokens = tokenisation(
        published.tokens, published.patch_size, files.temporal_rep, files.frames, files.encoder
    )
    derived = _derived(published, tokens, projectors, heads, files.encoder)
    config = resolve(_configuration(derived, overrides, modalities), dataset)
    table = None if files.patches is None else PatchTable.read(files.patches, tokens.ico)
    if table is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"patches": table.key})})
    learner = _learner(config, dataset)
    _load_encoder(learner.encoder, published, table)
    for modality, weights in projectors.items():
        _must_suit(modality, weights, config, learner, files.wrappers)
        learner.sim.projectors[modality].load_state_dict(weights)
    found = windows.Windows.of(dataset, config).find()
    stimuli = [modality for modality in projectors if modality != "fmri"]
    must_see(learner.eval(), dataset, found, stimuli, config.data.frames, files.encoder)
    run = FitRun.start(out, config, dataset, table=table)
    record = {**_record(files, published, tuple(projectors)), "seen_subjects": seen}
    json_text.write(out / IMPORTED, record)
    checkpoint.save(run.checkpoint, ContrastiveTraining(config, learner).state_dict())
    return FitRun(run.path, run.config, _notes(files, published, tokens, config) + told)


def _derived(
    published: PublishedEncoder,
    tokens: Tokenisation,
    projectors: Mapping[str, Mapping[str, Tensor]],
    heads: int | None,
    file: Path,
) -> dict[str, Any]:
    """The configuration that the weights ask for."""
    heads = heads or max(published.inner // DIM_HEAD, 1)
    if published.inner % heads:
        raise UserError(
            f"{file}: attention has {published.inner} dimensions, not a multiple of {heads} heads"
        )
    if published.hidden % published.dim:
        raise UserError(
            f"{file}: the MLP is {published.hidden} wide, no multiple of the tokens' {published.dim}"
        )
    derived = {
        **tokens.settings,
        "model.dim": published.dim,
        "model.depth": published.depth,
        "model.heads": heads,
        "model.dim_head": published.inner // heads,
        "model.mlp_ratio": published.hidden // published.dim,
        "model.final_norms": published.final_norms,
        "model.layout": "stored",
        "model.class_token": True,
        "model.patch_embedding": "linear",
        "model.positions": "sincos",
        "model.attention": True,
    }
    if projectors:
        derived["projector.dim"] = len(projectors["fmri"]["norm.weight"])
    return derived


def _configuration(
    derived: Mapping[str, Any], overrides: Iterable[str], modalities: tuple[str, ...]
) -> Config:
    texts = [f"{key}={value}" for key, value in {**USUAL, **derived}.items()]
    config = composition.load(composition.DEFAULT_PRESET, [*texts, *overrides], ",".join(modalities))
    for key, value in derived.items():
        if _value(config, key) != value:
            raise UserError(f"`overrides` {key}: the weights ask for {value}; leave it out")
    if config.model.patches is not None or config.model.init is not None:
        raise UserError("`overrides` model.patches, model.init: give `patches` and `fmri_encoder` instead")
    return config


def _value(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def _learner(config: ResolvedConfig, dataset: Dataset) -> Learner:
    """A learner with random weights, whose features say something of clips."""
    used = windows.Windows.of(dataset, config)
    torch.manual_seed(config.train.seed)
    learner = Learner(config, dataset, used.embeddings)
    learner.stimuli.fit(used.clips)
    return learner


def _load_encoder(encoder: SiT, published: PublishedEncoder, table: PatchTable | None) -> None:
    """Give an encoder the published weights, and the order of the patches with which they were made."""
    encoder.load_state_dict({**published.weights, "order": encoder.order})
    if table is not None:
        table.lay_out(encoder)


def _must_suit(
    modality: str,
    weights: Mapping[str, Tensor],
    config: ResolvedConfig,
    learner: Learner,
    files: Mapping[str, Path],
) -> None:
    """Raise a UserError if a projector is not of the sizes of the others, of the encoder or of the store."""
    dim, features = weights["project.weight"].shape
    if dim != config.projector.dim:
        raise UserError(
            f"{files[modality]}: projects into {dim} dimensions, {files['fmri']} into "
            f"{config.projector.dim}: give files of one training"
        )
    needed = learner.sim.projectors[modality].project.in_features
    source = "the encoder" if modality == "fmri" else f"{config.variable(modality)} of the store"
    if features != needed:
        raise UserError(
            f"{files[modality]}: takes {features} features, but {source} has {needed}"
            + ("" if modality == "fmri" else f"; choose another with `overrides` data.{modality}=NAME")
        )


def _notes(
    files: Files, published: PublishedEncoder, tokens: Tokenisation, config: ResolvedConfig
) -> list[str]:
    """What the user should know."""
    notes = [
        f"{key} is {_value(config, key)}, where the weights were trained and tested with {value}"
        for key, value in USUAL.items()
        if _value(config, key) != value
    ]
    if files.patches is None:
        notes.append(
            "without --patches the geometry's order of patches and of vertices was taken: outputs will not "
            "equal the published ones, unless the weights were made with that order; give the published "
            f"code's patch_extraction/triangle_indices_ico_6_sub_ico_{tokens.ico}.csv"
        )
    others = [one for one in possible_tokenisations(published.tokens, published.patch_size) if one != tokens]
    if others and files.temporal_rep is None and files.frames is None:
        notes.append(f"the weights have the sizes of {tokens}, which was taken, but also of {others[0]}")
    if not published.own_token:
        notes.append(f"{files.encoder} has no class token: it is 0, with which the published SIM begins")
    return notes


def _record(files: Files, published: PublishedEncoder, projectors: tuple[str, ...]) -> dict[str, Any]:
    named = {"fmri-encoder": files.encoder}
    named |= {f"{modality}-wrapper": file for modality, file in files.wrappers.items()}
    if files.patches is not None:
        named["patches"] = files.patches
    return {
        "files": {role: {"name": file.name, "sha256": sha256(file)} for role, file in named.items()},
        "projectors": list(projectors),
        "class_token": "of the file" if published.own_token else "0",
        "unused": published.unused,
    }
