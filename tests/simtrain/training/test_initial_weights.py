"""Training that starts from another run's encoder: what is taken, kept, frozen and refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.experiments import EXPERIMENTS
from simtrain.data.windows import WINDOW, Windows
from simtrain.models.factory import freeze, surface_encoder
from simtrain.retrieval.evaluation import must_be_new
from simtrain.training import checkpoint
from simtrain.training import loop as fitting
from simtrain.training.initial_weights import Initial, resolve_initial, start_options
from simtrain.training.run_folder import FitRun, PretrainRun

CPU = torch.device("cpu")
SIZE = ["model.ico=1", "model.dim=8", "model.depth=2", "model.dim_head=8"]
SHORT = ["train.steps=3", "train.batch_size=8", "train.validate_every=100", "train.checkpoint_every=100"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads on tensors as small as these wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _cli(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)


def _set(*overrides):
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("initial") / "pre"
    result = _cli(
        "pretrain", store, "--out", out, "--config", "demo", "--device", "cpu", *_set(*SIZE, *SHORT)
    )
    assert result.exit_code == 0, result.output
    assert f"--set model.init={out}" in result.output
    return out


@pytest.fixture(scope="module")
def vsmae(store, tmp_path_factory):
    """A run of the preset vsmae, small, and the command to start from it that was printed."""
    out = tmp_path_factory.mktemp("vsmae") / "pre"
    settings = _set(*SIZE, *SHORT, "model.heads=1", "mae.decoder_dim=8", "mae.decoder_depth=1")
    result = _cli("pretrain", store, "--out", out, "--config", "vsmae", "--device", "cpu", *settings)
    assert result.exit_code == 0, result.output
    command = result.output.split("start from it with: simtrain ")[1].split()
    assert command[2:4] == ["--out", "RUN"]
    return out, command[:2] + command[4:]


def test_the_command_that_pretraining_prints_starts_from_it(store, tmp_path, pretrained):
    printed = start_options(PretrainRun.open(pretrained).config, pretrained)
    assert printed[-1] == f"model.init={pretrained}"
    short = _set("train.steps=1", "train.batch_size=4")
    result = _cli("fit", store, "--out", tmp_path / "run", *printed, *short)
    assert result.exit_code == 0, result.output


def test_frames_as_tokens_are_frozen_with_their_embedding():
    config = load("demo", ["model.temporal=concat"])
    encoder = surface_encoder(config.model, (80, 561), 3)
    freeze(encoder, 1)
    trained = [name for name, weights in encoder.named_parameters() if weights.requires_grad]
    assert all(name.startswith(("blocks.1", "norm")) for name in trained)


def test_a_class_token_that_weights_lack_begins_at_0_and_one_that_they_have_stays(store, tmp_path, copied):
    """As in the published code, where a vsMAE has none, and SIM gives it one of zeros."""
    out, without = tmp_path / "none", "model.class_token=false"
    settings = _set(*SIZE, *SHORT, without)
    result = _cli("pretrain", store, "--out", out, "--config", "demo", "--device", "cpu", *settings)
    assert result.exit_code == 0, result.output
    assert "model.class_token" not in result.output
    for given in (out, shutil.copy(out / "checkpoint.pt", tmp_path / "bare.pt")):
        dataset, run = _start(store, tmp_path / f"of-{given.stem}", f"model.init={given}")
        encoder = fitting._learner(Windows.of(dataset, run.config), run).encoder
        assert not encoder.class_token.any()
        assert torch.equal(encoder.embed.weight, Initial.read(out).encoder["embed.weight"])
    mean = "model.pool=mean"
    _fit(store, tmp_path / "still-none", f"model.init={out}", mean, without, "model.freeze=1")
    with pytest.raises(UserError, match=r"model\.class_token: True != False"):
        _start(store, tmp_path / "taken", f"model.init={copied}", mean, without)


@pytest.mark.parametrize("how", ["all", "none", None], ids=["frozen", "fine-tuned", "from scratch"])
def test_a_vsmae_is_frozen_or_fine_tuned_by_the_printed_command(store, tmp_path, vsmae, how):
    run, command = vsmae
    start = command if how else command[:-2]  # without model.init
    given = _set(f"model.freeze={how}") if how else []
    result = _cli(*start, "--out", tmp_path / "run", *given, *_set(*SHORT, "model.pool=mean"))
    assert result.exit_code == 0, result.output
    before, after = Initial.read(run).encoder, _encoder(FitRun.open(tmp_path / "run"))
    assert after.keys() - before.keys() == {"class_token"}
    assert after["class_token"].any() == (how != "all")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == (set(before) if how == "all" else set())


def test_another_division_into_scenes_is_not_new(store, tmp_path, copied):
    """Neither in training itself nor in the pretraining before it."""
    first = _fit(store, tmp_path / "first", f"model.init={copied}")
    dataset = open_dataset(store)
    windows = np.zeros(3, WINDOW)
    windows["subject"] = 4  # who is in no training
    for name in EXPERIMENTS:
        must_be_new(first, dataset, windows, name)
    identity = json.loads((copied / "store.json").read_text())
    identity["scenes"]["M1"] = "0" * 64
    (copied / "store.json").write_text(json.dumps(identity))
    between = _fit(store, tmp_path / "between", f"model.init={copied}")
    later = _fit(store, tmp_path / "later", f"model.init={between.path}")
    for name in ("new-scenes", "both"):
        with pytest.raises(UserError, match=f"{name}: .* other clips or sets of scenes in M1"):
            must_be_new(later, dataset, windows, name)
    must_be_new(later, dataset, windows, "new-subjects")


@pytest.fixture
def copied(pretrained, tmp_path):
    """The pretraining where a test may remove it."""
    return shutil.copytree(pretrained, tmp_path / "pre")


def _start(store, out, *overrides):
    dataset = open_dataset(store)
    config, initial = resolve_initial(load("demo", [*SIZE, *SHORT, *overrides]), out, dataset)
    return dataset, FitRun.start(out, resolve(config, dataset), dataset, initial)


def _fit(store, out, *overrides):
    dataset, run = _start(store, out, *overrides)
    assert fitting.fit(dataset, run, CPU, Console(quiet=True)) is None
    return run


def _encoder(run):
    weights = checkpoint.load(run.checkpoint)["learner"]
    prefix = "sim.encoder."
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def test_training_starts_from_the_weights_of_the_pretraining(store, tmp_path, pretrained):
    dataset, run = _start(store, tmp_path / "run", f"model.init={pretrained}")
    learner = fitting._learner(Windows.of(dataset, run.config), run)
    expected = checkpoint.load(pretrained / "checkpoint.pt")["learner"]
    for name, weights in learner.encoder.state_dict().items():
        assert torch.equal(weights, expected[f"mae.encoder.{name}"])
    assert all(parameter.requires_grad for parameter in learner.parameters())


@pytest.mark.parametrize(
    ("how_much", "kept"),
    [
        ("none", ()),
        (1, ("embed", "to_place", "class_token", "blocks.0")),
        (2, ("embed", "to_place", "class_token", "blocks")),
        ("all", ("embed", "to_place", "class_token", "blocks", "norm")),
    ],
)
def test_frozen_weights_stay_and_have_no_optimiser_state(store, tmp_path, pretrained, how_much, kept):
    run = _fit(store, tmp_path / "run", f"model.init={pretrained}", f"model.freeze={how_much}")
    before, after = Initial.read(pretrained).encoder, _encoder(run)
    assert before.keys() == after.keys()
    fitted = {"embed.mean", "embed.axes"}
    assert all(torch.equal(before[name], after[name]) for name in fitted)
    unchanged = {name for name in before.keys() - fitted if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before.keys() - fitted if name.startswith(kept)}
    everything = checkpoint.load(run.checkpoint)
    trained = [name for name in everything["learner"] if not name.endswith((".mean", ".std", ".axes"))]
    in_groups = sum(len(group["params"]) for group in everything["optimizer"]["param_groups"])
    assert in_groups == len(trained) - len(unchanged) >= len(everything["optimizer"]["state"])


def test_the_run_goes_on_and_is_repeated_without_the_pretraining(store, tmp_path, copied):
    options = [f"model.init={copied}", "model.freeze=1"]
    run = _fit(store, tmp_path / "run", *options)
    shutil.rmtree(copied)
    _, again = _start(store, tmp_path / "run", *options)
    assert again.config == run.config == FitRun.open(run.path).config
    assert again.config.model.init == json.loads((run.path / "initial.json").read_text())["key"]
    assert _cli("fit", store, "--out", run.path).exit_code == 0
    assert str(tmp_path) not in (run.path / "config.yaml").read_text()
    assert str(tmp_path) not in (run.path / "initial.json").read_text()
    repeated = _fit(store, tmp_path / "twin", f"model.init={run.path / 'initial.pt'}", "model.freeze=1")
    assert repeated.config == run.config
    one, other = checkpoint.load(run.checkpoint)["learner"], checkpoint.load(repeated.checkpoint)["learner"]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_origin_is_recorded(store, tmp_path, pretrained):
    _, run = _start(store, tmp_path / "run", f"model.init={pretrained}")
    origin = json.loads((run.path / "initial.json").read_text())["origin"]
    assert (origin["name"], origin["step"]) == ("pre", 3)
    assert origin["config"]["mae"]["ratio"] == 0.75
    assert origin["stores"][0]["catalog_sha256"] == "0" * 64
    assert origin["exposures"][0][0]["seen"] == ["s1", "s2", "s3", "s4"]


def test_a_subject_of_the_pretraining_is_not_new(store, tmp_path, copied):
    identity = json.loads((copied / "store.json").read_text())
    identity["subjects"]["s6"] = "train"
    (copied / "store.json").write_text(json.dumps(identity))
    run = _fit(store, tmp_path / "run", f"model.init={copied}")
    assert "s6" in run.seen_subjects
    # And not after another run in between.
    later = _fit(store, tmp_path / "later", f"model.init={run.path}")
    assert "s6" in later.seen_subjects


def test_an_averaged_encoder_is_taken_averaged(store, tmp_path):
    run = _fit(store, tmp_path / "run", "train.ema=0.9")
    state = checkpoint.load(run.checkpoint)
    embed = Initial.read(run.path).encoder["embed.weight"]
    assert torch.equal(embed, state["average"]["sim.encoder.embed.weight"])
    assert not torch.equal(embed, state["learner"]["sim.encoder.embed.weight"])


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("model.depth=3", r"model\.depth: 2 != 3"),
        ("model.dim=16", r"model\.dim: 8 != 16"),
        ("model.ico=2", r"model\.ico: 1 != 2"),
        ("data.frames=2", r"data\.frames: 3 != 2"),
    ],
)
def test_another_size_is_refused_with_its_keys(store, tmp_path, pretrained, override, fault):
    with pytest.raises(UserError, match=rf"encoder of pre is not of the size(.|\n)*{fault}"):
        _start(store, tmp_path / "run", f"model.init={pretrained}", override)
    assert not (tmp_path / "run").exists()


def test_a_bare_checkpoint_of_another_size_is_refused_with_its_weights(store, tmp_path, copied):
    bare = shutil.copy(copied / "checkpoint.pt", tmp_path / "bare.pt")
    _start(store, tmp_path / "run", f"model.init={bare}")
    with pytest.raises(UserError, match=r"encoder\.class_token: \(1, 1, 8\) != \(1, 1, 16\)"):
        _start(store, tmp_path / "other", f"model.init={bare}", "model.dim=16")
    with pytest.raises(UserError, match=r"encoder\.blocks\.1\.[a-z.]*: .* != none"):
        _start(store, tmp_path / "other", f"model.init={bare}", "model.depth=1")


def test_what_holds_no_encoder_is_named(store, tmp_path):
    (tmp_path / "text.pt").write_text("weights")
    checkpoint.save(tmp_path / "other.pt", {"learner": {"weight": torch.zeros(1)}})
    for given, fault in {
        "nowhere": "there is no",
        "text.pt": "damaged, or no checkpoint of simtrain",
        "other.pt": "holds no surface encoder",
    }.items():
        with pytest.raises(UserError, match=fault):
            _start(store, tmp_path / "run", f"model.init={tmp_path / given}")
    with pytest.raises(UserError, match=r"hash of weights that another run keeps"):
        _start(store, tmp_path / "run", f"model.init=sha256:{'0' * 64}")


def test_changed_weights_in_the_run_folder_are_noticed(store, tmp_path, pretrained):
    dataset, run = _start(store, tmp_path / "run", f"model.init={pretrained}")
    encoder = Initial.read(pretrained).encoder
    checkpoint.save(run.path / "initial.pt", {"encoder": encoder | {"norm.bias": torch.ones(8)}})
    with pytest.raises(UserError, match="not what the run began with"):
        fitting.fit(dataset, run, CPU, Console(quiet=True))


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (["model.init=x", "model.depth=2", "model.freeze=3"], "more than the 2 blocks"),
        (["model.init=x", "model.freeze=some"], r"model\.freeze"),
    ],
)
def test_a_freeze_that_cannot_be_is_named(overrides, fault):
    with pytest.raises(UserError, match=fault):
        load("demo", overrides)


def test_maps_of_a_pretraining_from_the_command_line(store, tmp_path, pretrained):
    result = _cli("reconstruct-maps", pretrained, store, "--out", tmp_path / "maps", "--windows", 1)
    assert result.exit_code == 0, result.output
    assert "r = " in result.output
    assert len(list((tmp_path / "maps").glob("*.reconstruction.func.gii"))) == 2
