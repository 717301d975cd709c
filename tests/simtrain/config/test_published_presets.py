"""The presets of the published experiments, key by key beside the published files.

The values are those of ``config/CLIP-fmri-video-audio/hparams.yml``, ``config/CLIP-video/hparams.yml`` and
``config/CLIP-audio/hparams.yml`` of metrics-lab/sim at 8ce726e, and, for what these do not name, of
``tools/train_fmri_clip_ddp.py``.
"""

import pytest

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset
from simtrain.training.starting import start_run

# Key in the published file: our key, and what is there in the files of three modalities, video, and audio.
FILES = {
    "mesh_resolution.ico_grid": ("model.ico", (3, 4, 4)),
    "transformer.dim": ("model.dim", (192, 192, 192)),
    "transformer.depth": ("model.depth", (12, 12, 12)),
    "transformer.heads": ("model.heads", (3, 3, 3)),
    "transformer.dim_head": ("model.dim_head", (64, 64, 64)),
    "transformer.mlp_ratio": ("model.mlp_ratio", (4, 4, 4)),
    "transformer.dropout": ("model.dropout", (0.0, 0.0, 0.0)),
    "transformer.use_pos_embedding: sin-cos": ("model.positions", ("sincos", "sincos", "sincos")),
    "clip.use_class_token_fmri_encoder": ("model.class_token", (True, True, True)),
    "transformer.pool": ("model.pool", ("mean", "mean", "mean")),
    "fMRI.temporal_rep": ("model.temporal", ("channels", "channels", "concat")),
    "fMRI.nbr_frames": ("data.frames", (3, 3, 3)),
    "fMRI.temporal_lag": ("data.lag", (6, 6, 6)),
    "video_model.video_name": ("data.video", ("videomae", "videomae", None)),
    "audio_model.audio_name": ("data.audio", ("wav2vec2", None, "wav2vec2")),
    "clip.clip_embedding_dimension": ("projector.dim", (384, 384, 384)),
    "clip.dropout": ("projector.dropout", (0.0, 0.0, 0.0)),
    "clip.avg_fmri (post_proj)": ("projector.average", ("after", "after", "after")),
    "clip.weights, first": ("loss.weights.fmri_video", (0.8, 0.8, 0.8)),  # of no effect in two modalities
    "clip.weights, second": ("loss.weights.fmri_audio", (0.1, 0.1, 0.1)),
    "clip.weights, third": ("loss.weights.video_audio", (0.1, 0.1, 0.1)),
    "clip.fmri_encoder_trainable": ("model.freeze", ("all", "none", "all")),
    "training.LR": ("train.learning_rate", (3e-4, 3e-4, 3e-4)),
    "training.bs, on one GPU": ("train.batch_size", (4, 4, 4)),
    "training.iterations": ("train.steps", (300, 100_000, 100_000)),
    "training.log_val_it": ("train.validate_every", (100, 100, 100)),
    "AdamW.weight_decay": ("train.weight_decay", (0.01, 0.01, 0.01)),
    "optimisation.use_scheduler: False": ("train.schedule", ("constant", "constant", "constant")),
    "optimisation.warmup: False": ("train.warmup", (0.0, 0.0, 0.0)),
    "movie_sampling_strategy": ("data.moments", ("any", "any", "any")),
}
CODE = {
    "data.normalise": "vertex-demean",
    "data.test_normalise": "vertex-demean+frame-zscore",
    "data.features": "raw",
    "data.hemispheres": "both",
    "data.lag_jitter": 0,
    "loss.kind": "published",
    "loss.overlaps": "negatives",
    "loss.queue": 0,
    "loss.modality_dropout": 0.0,
    "projector.stimulus_dropout": 0.0,
    "model.drop_path": 0.0,
    "train.beta1": 0.9,  # torch's own, which the code leaves as they are
    "train.beta2": 0.999,
    "train.balance": "none",
    "loss.temperature": None,
    "model.patch_embedding": "linear",
    "model.attention": True,
    "train.clip_norm": None,
    "train.decayed": "all",  # AdamW is given model.parameters()
    "train.amp": "off",  # no autocast
    "train.ema": None,
    "train.best_by": "pairs",  # (loss_fmri_video + loss_fmri_audio + loss_video_audio) / 3
    "train.patience": None,  # c_early_stop is never raised
    "train.accumulate": 1,
}
PRESETS = {"published": ("fmri", "video", "audio"), "published-video": ("fmri", "video")}
PRESETS["published-audio"] = ("fmri", "audio")


def _value(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("key", FILES)
def test_a_preset_has_what_the_published_file_has(key, position):
    ours, values = FILES[key]
    assert _value(load(list(PRESETS)[position]), ours) == values[position]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_does_what_the_published_code_does(preset):
    config = load(preset)
    assert config.modalities == PRESETS[preset]
    assert {key: _value(config, key) for key in CODE} == CODE


def test_frames_of_audio_have_positions_that_run_on():
    assert load("published-audio").model.frame_positions == "sequence"


def test_an_encoder_that_is_not_trained_must_be_given(store, tmp_path):
    own = ["data.video=null", "data.audio=null"]
    with pytest.raises(UserError, match=r"model\.freeze needs model\.init"):
        start_run(open_dataset(store), load("published", own), tmp_path / "run")
    assert not (tmp_path / "run").exists()
