"""No result of embeddings that are not finite, or all the same, whatever makes it."""

import re
import shutil

import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner
from command_line import sets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rich.console import Console

from simdata.common.errors import UserError
from simtrain.baselines.experiments import KINDS
from simtrain.cli.root import cli
from simtrain.common.finite import Apart, must_tell_apart, unsound
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data import windows
from simtrain.data.dataset import open_dataset, resolve
from simtrain.models.learner import Learner
from simtrain.reconstruction.identification import Tally, two_way
from simtrain.retrieval.trials import ranks
from simtrain.training import checkpoint, pretraining
from simtrain.training.contrastive import ContrastiveTraining, top1
from simtrain.training.early_stopping import Patience
from simtrain.training.run_folder import FitRun, PretrainRun

SMALL = ["model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=16", "projector.dim=16"]
COMMANDS = {
    "retrieve": ["--experiment", "new-subjects", "--pool", 12, "--clips", 20, "--draws", 2],
    "predict": ["--out", "OUT"],
    "reconstruct": ["--experiment", "new-subjects", "--sheet", 0, "--exclude", "movie"],
    "saliency": ["--method", "gradient", "--modality", "audio", "--windows", 3],
}


@pytest.fixture(scope="module")
def untrained(store, tmp_path_factory):
    """A run of random weights."""
    dataset = open_dataset(store)
    config = resolve(load("demo", [*SMALL, "model.patch_embedding=linear"]), dataset)
    run = FitRun.start(tmp_path_factory.mktemp("finite") / "run", config, dataset)
    embeddings = dataset.embeddings(config)
    torch.manual_seed(0)
    learner = Learner(config, dataset, embeddings)
    learner.stimuli.fit(windows.clip_split(dataset, embeddings.values()))
    checkpoint.save(run.checkpoint, ContrastiveTraining(config, learner).state_dict())
    return run


def _edited(run, folder, change):
    """A copy of a run with other weights."""
    shutil.copytree(run.path, folder)
    state = checkpoint.load(folder / "checkpoint.pt")
    change(state["learner"])
    torch.save(state, folder / "checkpoint.pt")
    (folder / "best.pt").unlink(missing_ok=True)
    return folder


def _call(command, run, store, *options):
    options = [run.parent / "out.zarr" if option == "OUT" else option for option in options]
    arguments = [command, run, store, "--device", "cpu", *options]
    return CliRunner().invoke(cli, list(map(str, arguments)))


def _refused(result):
    assert isinstance(result.exception, UserError), result.output + repr(result.exception)
    assert "nan" not in result.output
    return str(result.exception)


def _files(folder):
    return sorted(path for path in folder.rglob("*"))


def _put(name, value, where=0):
    def change(learner):
        learner[name].view(-1)[where] = value

    return change


def _zero(*names):
    def change(learner):
        for name in learner:
            if any(part in name for part in names):
                learner[name].zero_()

    return change


@pytest.mark.parametrize("command", COMMANDS)
def test_untrained_weights_are_tested_like_any_others(untrained, store, tmp_path, command):
    run = _edited(untrained, tmp_path / "run", lambda learner: None)
    result = _call(command, run, store, *COMMANDS[command])
    assert result.exit_code == 0, result.output + repr(result.exception)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_put("sim.projectors.audio.refine.1.weight", torch.nan, 7), "audio.refine.1.weight is not finite"),
        (_put("sim.encoder.embed.weight", 1e38), "embed.weight is not finite, or too large"),
        (_zero("sim.encoder.embed.weight"), "have the same fmri embedding"),
        (_zero("sim.encoder.norm"), "have the same fmri embedding"),
        (_zero("sim.projectors.fmri.norm"), "fmri embeddings of .* have no direction"),
    ],
    ids=["NaN", "huge", "no input", "no output", "no direction"],
)
def test_every_command_refuses_a_model_of_nothing(untrained, store, tmp_path, command, change, said):
    run = _edited(untrained, tmp_path / "run", change)
    before = _files(tmp_path)
    message = _refused(_call(command, run, store, *COMMANDS[command]))
    assert re.search(said, message), message
    assert _files(tmp_path) == before


@pytest.mark.parametrize("command", ["retrieve", "predict", "saliency"])
def test_one_modality_without_life_is_named(untrained, store, tmp_path, command):
    run = _edited(untrained, tmp_path / "run", _zero("sim.projectors.audio.project.weight"))
    assert "same audio embedding" in _refused(_call(command, run, store, *COMMANDS[command]))


@pytest.mark.parametrize(
    "options",
    [
        ("--average-subjects",),
        ("--average-windows", 2),
        ("--pool", "movie"),
        ("--negatives", "nearest"),
        ("--shuffle",),
        ("--lags", "4:6", "--figures"),
        ("--negatives", "cross-movie"),
    ],
    ids=str,
)
def test_every_protocol_refuses_it(untrained, store, tmp_path, options):
    run = _edited(untrained, tmp_path / "run", _zero("sim.encoder.norm"))
    result = _call("retrieve", run, store, *COMMANDS["retrieve"], *options)
    assert "fmri embedding" in _refused(result)
    assert not (run / "retrieval").exists()
    assert not (run / "retrieval.json").exists()


def test_weights_whose_results_overflow_are_refused(untrained, store, tmp_path):
    def change(learner):
        for name in learner:
            if "projectors.video" in name:
                learner[name] *= 1e15

    run = _edited(untrained, tmp_path / "run", change)
    assert "video embedding" in _refused(_call("retrieve", run, store, *COMMANDS["retrieve"]))


@pytest.mark.parametrize("value", [-2000.0, 2000.0])
def test_a_temperature_of_nothing_is_refused(untrained, store, tmp_path, value):
    run = _edited(untrained, tmp_path / "run", lambda learner: learner["loss.log_scale"].fill_(value))
    assert "temperature of" in _refused(_call("reconstruct", run, store, *COMMANDS["reconstruct"]))


def test_one_window_is_not_all_the_same(untrained, store, tmp_path):
    run = _edited(untrained, tmp_path / "run", lambda learner: None)
    options = ["--method", "gradient", "--windows", 1, "--subject", "s5"]
    assert _call("saliency", run, store, *options).exit_code == 0
    must_tell_apart(np.eye(3)[:1], "fmri", "windows", "run")
    must_tell_apart(np.zeros((0, 3)), "fmri", "windows", "run")


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    dataset = open_dataset(store)
    settings = [*SMALL[:4], "mae.decoder_dim=8", "mae.decoder_depth=1", "mae.decoder_heads=1"]
    settings += ["train.steps=1", "train.batch_size=8", "train.validation_samples=8"]
    config = resolve(load("sim-tiny", settings, kind=PretrainConfig), dataset)
    run = PretrainRun.start(tmp_path_factory.mktemp("finite") / "pretrained", config, dataset)
    pretraining.pretrain(dataset, run, torch.device("cpu"), Console(quiet=True))
    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_zero("to_values"), "the prediction of a window is the same"),
        (_put("mae.to_values.bias", torch.inf), "not finite"),
    ],
)
def test_maps_of_nothing_are_not_written(pretrained, store, tmp_path, change, said):
    run = _edited(pretrained, tmp_path / "run", change)
    assert said in _refused(_call("reconstruct-maps", run, store, "--windows", 2))
    assert not (run / "maps").exists()


@pytest.fixture
def edited_store(store, tmp_path):
    """A copy of the small store whose arrays may be written to."""
    shutil.copytree(store, tmp_path / "edited.zarr")
    return tmp_path / "edited.zarr"


@pytest.mark.parametrize("value", [np.inf, np.nan, -3e38])
def test_a_damaged_row_of_features_is_named(untrained, edited_store, tmp_path, value):
    group = zarr.open_group(edited_store, mode="r+", use_consolidated=False)
    group["video_shapes"][0, 5, 2] = value
    said = r"1 rows of video_shapes are infinite, larger than 1e\+18, or NaN in some.*first at 5 s of M1"
    with pytest.raises(UserError, match=said):
        open_dataset(edited_store).embedding("video_shapes")
    assert "video_shapes" in _refused(_call("retrieve", untrained.path, edited_store))


def test_features_that_do_not_vary_are_named(edited_store, tmp_path):
    """By every command that fits something, before it writes anything."""
    group = zarr.open_group(edited_store, mode="r+", use_consolidated=False)
    tones = group["audio_tones"][:]
    group["audio_tones"][:] = np.where(np.isnan(tones), tones, np.float32(3.7))
    fit = ["fit", edited_store, "--out", tmp_path / "run", "--config", "demo", "--device", "cpu"]
    result = CliRunner().invoke(cli, [*map(str, fit), *sets(SMALL)])
    assert "audio_tones is the same in all" in _refused(result)
    for kind in ("ridge", "pca"):
        baseline = ["baseline", edited_store, "--out", tmp_path / "base", "--kind", kind, "--device", "cpu"]
        result = CliRunner().invoke(cli, [*map(str, baseline), *sets(SMALL)])
        assert "audio_tones is the same in all" in _refused(result)
        assert not list((tmp_path / "base" / kind).glob("*"))
    assert set(KINDS) == {"ridge", "pca", "intersubject"}


def test_one_constant_feature_is_only_centred(edited_store):
    group = zarr.open_group(edited_store, mode="r+", use_consolidated=False)
    group["audio_tones"][:, :, 0] = np.where(np.isnan(group["audio_tones"][:, :, 0]), np.nan, 5)
    dataset = open_dataset(edited_store)
    config = resolve(load("demo", SMALL), dataset)
    embeddings = dataset.embeddings(config)
    learner = Learner(config, dataset, embeddings)
    clips = windows.clip_split(dataset, embeddings.values())
    learner.stimuli.fit(clips)
    found = learner.clip_features(*np.nonzero(clips))["audio"]
    assert found.isfinite().all()
    assert not found[:, 0].any()


@given(
    hnp.arrays(np.float32, (4, 6), elements=st.sampled_from([0.0, 0.5, 1.0, np.nan, np.inf, -np.inf])),
)
def test_what_compares_with_nothing_counts_against_the_true_one(similarity):
    for rank, row in zip(ranks(similarity), similarity, strict=True):
        assert rank == 1 + sum(not one < row[0] for one in row[1:].tolist())


def test_ties_that_rounding_breaks_count_against_the_true_one():
    rng = np.random.default_rng(0)
    one = rng.standard_normal(384).astype(np.float32)
    one /= np.linalg.norm(one)
    pool = one + rng.standard_normal((64, 384)).astype(np.float32) * 1e-9
    assert ranks(pool @ one) == 64
    assert (ranks(np.full((3, 5), np.nan)) == 5).all()


@pytest.mark.parametrize("value", [torch.nan, 0.5])
def test_top1_of_a_batch_gives_nothing_away(value):
    embeddings = {"fmri": torch.full((4, 1), value), "video": torch.full((4, 1), value)}
    assert top1(embeddings, torch.zeros(4, 4, dtype=bool))["top1-video"] == 0


def test_p_and_two_way_of_nothing_are_no_evidence():
    table, shifts = np.random.default_rng(0).random((20, 20)).astype("f4"), np.array([range(20)] * 40)
    for shift in range(1, 40):
        shifts[shift] = np.roll(np.arange(20), shift)
    np.fill_diagonal(table, np.nan)
    tally = Tally(39)
    tally.add(table, shifts)
    assert tally.outcome().p == 1
    identified = two_way(table, np.zeros(20, int), 10 * np.arange(20))
    assert (np.diagonal(identified) == 0).all()
    constant = two_way(np.ones((20, 20)), np.zeros(20, int), 10 * np.arange(20))
    assert (constant == 0.5).all()


def test_a_loss_that_is_not_finite_is_never_the_best():
    patience = Patience(3)
    losses = [torch.nan, -torch.inf, 2.0, torch.nan, 1.0]
    assert [patience.improved(loss) for loss in losses] == [False, False, True, False, True]


def test_states_are_looked_at_however_deep():
    state = {"a": [torch.tensor([1.0, torch.nan])], "b": {"c": torch.tensor(2e18), "d": torch.zeros(0)}}
    state |= {"n": 3, "i": torch.tensor(5), "fine": torch.tensor(-9e17), "low": torch.tensor([-torch.inf])}
    assert unsound(state) == ["a.0", "b.c", "low"]


def test_embeddings_are_looked_at_part_by_part():
    apart = Apart("video", "clips", "here")
    apart.add(np.eye(3)[:1])
    apart.add(np.eye(3)[:1] + 1e-7)
    with pytest.raises(UserError, match="here: all 2 clips have the same video embedding"):
        apart.must_differ()
    apart.add(np.eye(3)[1:2])
    apart.must_differ()
    with pytest.raises(UserError, match="video embeddings of 1 of 2 clips are not finite"):
        apart.add(np.array([[1, 0, 0], [0, np.inf, 0]]))


def test_predict_leaves_no_half_written_store(untrained, store, tmp_path):
    run = _edited(untrained, tmp_path / "run", _zero("sim.encoder.norm"))
    _refused(_call("predict", run, store, "--out", "OUT"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
