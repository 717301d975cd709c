"""Losses of one's own: a class in another package, by the name of its entry point or by its place."""

import json

import pytest
import torch
from examples import must_run
from torch.nn.functional import multi_margin_loss, normalize
from training_runs import TINY

import simtrain
from simdata.common.errors import UserError
from simtrain.data.dataset import open_dataset
from simtrain.models.losses import Contrastive
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

GROUP, CPU = "simtrain.losses", torch.device("cpu")
HEAD = "import torch\nfrom simtrain.models.losses import Contrastive\n"
MARGIN = f"""{HEAD}
class Margin(Contrastive):
    first_temperature = 0.5
    learns_temperature = False

    def pair(self, similarity, ignore, more=None):
        too_near = (0.3 + similarity - similarity.diagonal()[:, None]).relu()
        beside = ~ignore & ~torch.eye(len(ignore), dtype=torch.bool)
        return (too_near * beside).sum() / similarity.numel()
"""
SHORT = [*TINY, "train.steps=3", "train.validate_every=3"]


def _class(body, bases="Contrastive"):
    return HEAD + f"class Odd({bases}):\n    {body}\n"


def _fit(store, out, *overrides):
    return simtrain.fit(store, out, "demo", overrides=[*SHORT, *overrides], device="cpu", progress=False)


@pytest.fixture
def margin(installed):
    installed("margins", GROUP, "margin = margins_module:Margin", MARGIN)


def test_a_registered_loss_trains_and_is_what_the_run_is_tested_with(store, tmp_path, margin):
    run = _fit(store, tmp_path / "run", "loss.kind=margin")
    assert run.config.loss.kind == "margin"
    assert run.metrics["train/fmri-video"].between(0, 3).all()
    assert run.metrics["train/temperature"].tolist() == [0.5] * 3
    software = json.loads((run.path / "software.json").read_text())
    assert software["loss.kind"] == "margin of margins (margins_module:Margin)"
    assert software["margins"] == "1.0"
    loss = load_learner(FitRun.open(run.path), open_dataset(store), CPU).loss
    torch.manual_seed(0)
    embeddings = {name: normalize(torch.randn(6, 5), dim=1) for name in ("fmri", "video", "audio")}
    _, parts = loss(embeddings, torch.zeros(6, 6, dtype=torch.bool))
    for name, part in parts.items():
        one, other = (embeddings[modality] for modality in name.split("-"))
        torch.testing.assert_close(part, multi_margin_loss(one @ other.T, torch.arange(6), margin=0.3))


def test_a_class_by_its_place_needs_no_package_and_goes_on(store, tmp_path, margin):
    by_place = "loss.kind=margins_module:Margin"
    run = _fit(store, tmp_path / "run", by_place)
    assert "loss.kind" not in json.loads((run.path / "software.json").read_text())
    longer = _fit(store, tmp_path / "run", by_place, "train.steps=4")
    assert longer.metrics.step.tolist() == [1, 2, 3, 4]


def test_another_packages_loss_of_the_same_name_does_not_go_on_with_a_run(store, tmp_path, margin, installed):
    _fit(store, tmp_path / "run", "loss.kind=margin")
    installed("margins", GROUP, "margin = other_module:Margin")
    installed("other", GROUP, "other = other_module:Margin", MARGIN)
    then, now = (rf"margin of margins \({module}_module:Margin\)" for module in ("margins", "other"))
    message = f"begun with other code .*\n  loss.kind: {then} != {now}"
    with pytest.raises(UserError, match=message):
        _fit(store, tmp_path / "run", "loss.kind=margin", "train.steps=4")


def test_the_example_in_the_docstring_is_right():
    must_run(Contrastive, torch=torch, Contrastive=Contrastive)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        (
            "hinge",
            "",
            "loss.kind: no loss 'hinge': choose from infonce, infonce_fixed, odd, published, siglip, or one",
        ),
        ("odd", _class("...", "torch.nn.Module"), "loss odd of odd .*: is no subclass of Contrastive"),
        ("odd", _class("..."), r"loss odd of odd .*: has no method pair\(similarity, ignore\)"),
        (
            "odd",
            _class("def pair(self, logits): ..."),
            r"pair\(self, logits\) cannot be called with \(self, similarity, ignore\)",
        ),
        (
            "odd",
            _class("takes_queue = True\n    def pair(self, similarity, ignore): ..."),
            r"cannot be called with \(self, similarity, ignore, more\)",
        ),
        (
            "odd",
            _class("def __init__(self): ...\n    def pair(self, similarity, ignore): ..."),
            r"Odd\(\) cannot be called with \(weights, temperature\)",
        ),
    ],
)
def test_what_is_no_loss_is_refused_before_there_is_a_run(store, tmp_path, installed, kind, code, message):
    installed("odd", GROUP, "odd = odd_module:Odd", code)
    with pytest.raises(UserError, match=message):
        simtrain.load_config("demo", overrides={"loss.kind": kind})
    with pytest.raises(UserError, match=message):
        _fit(store, tmp_path / "run", f"loss.kind={kind}")
    assert not (tmp_path / "run").exists()


def test_a_queue_that_the_loss_does_not_take_is_refused_before_there_is_a_run(store, tmp_path, margin):
    with pytest.raises(UserError, match=r"loss\.queue does not go with margin"):
        _fit(store, tmp_path / "run", "loss.kind=margin", "loss.queue=8")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "similarity.relu().mean(dim=1)",
            r"loss Odd: pair gave a tensor of shape \(8,\); it must give a scalar",
        ),
        ("similarity.detach().mean()", r"pair gave a tensor of shape \(\) without gradient"),
        ("similarity.mean().item()", "pair gave float"),
        ("similarity.mean() * torch.nan", "step 1 is not finite .*loss nan.*nothing of this was saved"),
    ],
)
def test_values_that_are_no_loss_end_training(store, tmp_path, installed, value, message):
    code = _class(f"def pair(self, similarity, ignore): return {value}")
    installed("odd", GROUP, "odd = odd_module:Odd", code)
    with pytest.raises(UserError, match=message):
        _fit(store, tmp_path / "run", "loss.kind=odd")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
