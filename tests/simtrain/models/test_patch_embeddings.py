"""Patch embeddings: shared, one for each patch, and one's own."""

import signal

import numpy as np
import pytest
import torch
import yaml
from examples import must_run
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch.nn.functional import linear
from training_runs import TINY, assert_equal, fit_run, stopping_at

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.data import windows
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import Windows
from simtrain.models.input import FramePatches
from simtrain.models.mae import MAE
from simtrain.models.masking import Masking
from simtrain.models.patch_embeddings import Linear, PatchEmbedding, PatchPCA, PerPatch, Whitened
from simtrain.models.sit import SiT
from simtrain.training import checkpoint

GROUP = "simtrain.patch_embeddings"
PATCHES, VERTICES, FRAMES, DIM = 20, 6, 3, 24
SIZES = dict(patches=PATCHES, vertices=VERTICES, frames=FRAMES, dim=DIM)
CONVOLVED = """
import torch
from torch import nn
from simtrain.models.patch_embeddings import PatchEmbedding

class Convolved(PatchEmbedding):
    def __init__(self, patches, vertices, frames, dim):
        super().__init__()
        self.shape = vertices, frames
        self.time = nn.Conv1d(1, 2, kernel_size=3, padding=1)
        self.space = nn.Linear(vertices * frames * 2, dim)

    def forward(self, x):
        series = nn.functional.gelu(self.time(x.reshape(-1, 1, self.shape[1])))
        return self.space(series.reshape(*x.shape[:-1], -1))
"""
SHORT = [*TINY, "train.steps=3", "train.validate_every=3"]
PRETRAINED = [*(text for text in SHORT if not text.startswith("projector")), "model.heads=8"]
QUIET = {"device": "cpu", "progress": False}


@pytest.fixture
def convolved(installed):
    installed("conv", GROUP, "convolved = conv_module:Convolved", CONVOLVED)


def _per_patch():
    torch.manual_seed(0)
    embedding = PerPatch(**SIZES)
    torch.nn.init.normal_(embedding.weight)
    return embedding


def _map_of(embedding, patch):
    """(dim, values) of one patch, as torch's linear has it."""
    values = VERTICES * FRAMES
    return embedding.weight[patch * values : (patch + 1) * values].T


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_each_patch_has_a_map_of_its_own(leading):
    embedding, x = _per_patch(), torch.randn(*leading, PATCHES, VERTICES * FRAMES)
    found = embedding(x)
    assert found.shape == (*leading, PATCHES, DIM)
    for patch in range(PATCHES):
        expected = linear(x[..., patch, :], _map_of(embedding, patch), embedding.bias)
        torch.testing.assert_close(found[..., patch, :], expected)


def test_all_patches_begin_with_the_shared_map_and_part_in_training():
    x = torch.randn(2, PATCHES, VERTICES * FRAMES)
    torch.manual_seed(3)
    shared = Linear(**SIZES)
    torch.manual_seed(3)
    own = PerPatch(**SIZES)
    torch.testing.assert_close(own(x), shared(x))
    own(x).square().sum().backward()
    assert len(own.weight.grad.view(PATCHES, -1).unique(dim=0)) == PATCHES


def _rows_of_patches():
    """(rows, patches, values) of few dimensions, in one patch of fewer than are kept."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((400, PATCHES, 8)) * 0.7 ** np.arange(8)
    rows = np.einsum("npk,pkv->npv", latent, rng.standard_normal((PATCHES, 8, VERTICES * FRAMES)))
    rows[:, 3] = latent[:, 3, :2] @ rng.standard_normal((2, VERTICES * FRAMES)) + 1
    rows[:, 4] = 0
    return torch.from_numpy(rows).float()


def test_main_components_of_each_patch_are_those_of_sklearn_and_have_unit_variance():
    rows, kept = _rows_of_patches(), 5
    embedding = PatchPCA(**SIZES, components=kept)
    embedding.fit(lambda: rows.split(64))
    # Maps that give the components themselves.
    torch.nn.init.zeros_(embedding.bias)
    embedding.weight.data = torch.eye(kept, DIM).repeat(PATCHES, 1)
    found = embedding(rows)[..., :kept].detach().numpy()
    for patch in range(PATCHES):
        dimensions = {3: 2, 4: 0}.get(patch, kept)
        if dimensions:
            plain = PCA(kept, whiten=True, svd_solver="full").fit_transform(rows[:, patch].double().numpy())
            np.testing.assert_allclose(
                abs(found[:, patch, :dimensions]), abs(plain[:, :dimensions]), atol=2e-3
            )
        assert (found[:, patch, dimensions:] == 0).all()


def test_whitened_patches_are_those_of_sklearn_through_one_map():
    rows, kept = _rows_of_patches(), 5
    embedding = Whitened(**SIZES, components=kept)
    embedding.fit(lambda: rows.split(64))
    found = embedding(rows).detach()
    for patch in range(PATCHES):
        dimensions = {3: 2, 4: 0}.get(patch, kept)
        white = np.zeros((len(rows), VERTICES * FRAMES))
        if dimensions:
            plain = PCA(dimensions, whiten=True, svd_solver="full")
            white = plain.fit_transform(rows[:, patch].double().numpy()) @ plain.components_
        expected = linear(torch.from_numpy(white).float(), embedding.map.weight, embedding.map.bias)
        torch.testing.assert_close(found[:, patch], expected, atol=5e-3, rtol=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(PATCHES)))
def test_patches_in_another_order_are_whitened_to_the_same_tokens(order):
    rows, embedding = _rows_of_patches(), Whitened(**SIZES, components=5)
    other = Whitened(**SIZES, components=5)
    other.map.load_state_dict(embedding.map.state_dict())
    embedding.fit(lambda: [rows])
    other.fit(lambda: [rows[:, order]])
    torch.testing.assert_close(other(rows[:, order]), embedding(rows)[:, order], atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize("temporal", ["channels", "concat", "average"])
def test_main_components_are_of_training_windows_and_stay(store, tmp_path, temporal):
    given = (*SHORT, f"model.temporal={temporal}", "model.patch_embedding=pca", "model.components=4")
    run, _ = fit_run(store, tmp_path / "run", *given)
    learner = checkpoint.load(run.checkpoint)["learner"]
    dataset = open_dataset(store)
    samples = windows.by_hemisphere(windows.training(Windows.of(dataset, run.config).find()))
    stored = torch.from_numpy(BoldReader(store).read(
        np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1), 3
    ))  # fmt: skip
    values = FramePatches.of(dataset, run.config)(
        stored, torch.from_numpy(samples["hemisphere"].astype(np.int64))
    )
    values = (
        values if temporal == "channels" else values.unflatten(2, (-1, 3)).permute(0, 3, 1, 2).flatten(0, 1)
    )
    torch.testing.assert_close(learner["sim.encoder.embed.mean"], values.mean(dim=0), atol=1e-5, rtol=1e-4)
    scores = torch.einsum(
        "npv,pvk->npk", values - learner["sim.encoder.embed.mean"], learner["sim.encoder.embed.axes"]
    )
    variance = scores.var(dim=0)
    torch.testing.assert_close(
        variance[variance > 0], torch.ones(int((variance > 0).sum())), atol=1e-3, rtol=0
    )
    with stopping_at(1):
        _, stopped = fit_run(store, tmp_path / "stopped", *given)
    assert stopped == signal.SIGINT
    resumed, _ = fit_run(store, tmp_path / "stopped", *given)
    assert_equal(checkpoint.load(resumed.checkpoint)["learner"], learner)


def test_main_components_pretrain_and_go_on_in_fit(store, tmp_path):
    own = ("model.patch_embedding=pca", "model.components=4")
    overrides = [*PRETRAINED, *own]
    pretrained = simtrain.pretrain(store, tmp_path / "pretrained", overrides=overrides, **QUIET)
    before = checkpoint.load(pretrained.path / "checkpoint.pt")["learner"]
    given = [*SHORT, *own, "model.heads=8", f"model.init={pretrained.path}", "model.freeze=all"]
    run = simtrain.fit(store, tmp_path / "run", "demo", overrides=given, **QUIET)
    after = checkpoint.load(run.path / "checkpoint.pt")["learner"]
    for name in ("mean", "axes", "weight"):
        torch.testing.assert_close(after[f"sim.encoder.embed.{name}"], before[f"mae.encoder.embed.{name}"])


def test_masked_patches_keep_their_own_maps():
    torch.manual_seed(0)
    encoder = SiT(patches=PATCHES, patch_size=VERTICES * FRAMES, dim=DIM, depth=1, heads=3, frames=FRAMES,
                  embedding=PerPatch)  # fmt: skip
    torch.nn.init.normal_(encoder.embed.weight)
    mae = MAE(encoder, frames=FRAMES, kind="tubes", dim=16, depth=1, heads=2, dim_head=8)
    mask = Masking("tubes", 0.75, PATCHES, FRAMES, apart=False).draw([0, 1], torch.device("cpu"))
    x = torch.randn(2, PATCHES, VERTICES * FRAMES)
    encoded = mae.encode(x, mask)
    for sample in range(2):
        tokens = [
            linear(x[sample, patch], _map_of(encoder.embed, patch), encoder.embed.bias)
            + encoder.positions[0, patch]
            for patch in mask.visible[sample]
        ]
        torch.testing.assert_close(encoded[sample], encoder.attend(torch.stack(tokens)[None])[0])


@pytest.mark.parametrize("temporal", ["channels", "concat"])
def test_an_embedding_that_looks_beside_its_patch_sees_nothing_hidden(temporal):
    class Neighbours(PerPatch):
        def forward(self, x):
            return super().forward(x + x.roll(1, dims=-2))

    encoder = SiT(patches=PATCHES, patch_size=VERTICES * FRAMES, dim=DIM, depth=1, heads=3, frames=FRAMES,
                  embedding=Neighbours, temporal=temporal)  # fmt: skip
    mae = MAE(encoder, frames=FRAMES, kind="tubes", dim=16, depth=1, heads=2, dim_head=8)
    mask = Masking("tubes", 0.5, PATCHES, FRAMES, mae.apart).draw([0, 1], torch.device("cpu"))
    x = torch.randn(2, PATCHES, VERTICES * FRAMES)
    other = torch.where(mask.hidden.repeat(1, 1, VERTICES), torch.randn_like(x), x)
    assert torch.equal(mae(x, mask), mae(other, mask))


@pytest.mark.parametrize("temporal", ["channels", "concat", "average"])
def test_one_for_each_patch_trains(store, tmp_path, temporal):
    run, _ = fit_run(
        store, tmp_path / "run", *SHORT, f"model.temporal={temporal}", "model.patch_embedding=per_patch"
    )
    weight = checkpoint.load(run.checkpoint)["learner"]["sim.encoder.embed.weight"]
    maps = weight.view(80, -1)  # icosphere 1
    assert len(maps.unique(dim=0)) == 80


def test_a_registered_one_is_pretrained_and_trained_on(store, tmp_path, convolved):
    chosen = "model.patch_embedding=convolved"
    first = simtrain.pretrain(store, tmp_path / "mae", overrides=[*PRETRAINED, chosen], **QUIET)
    frozen = [chosen, f"model.init={first.path}", "model.freeze=1"]
    run = simtrain.fit(store, tmp_path / "run", "demo", overrides=[*SHORT, *frozen], **QUIET)
    before, after = (
        {
            name.partition("encoder.")[2]: values
            for name, values in checkpoint.load(one.path / "checkpoint.pt")["learner"].items()
            if ".embed." in name
        }
        for one in (first, run)
    )
    assert sorted(before) == [
        "embed.space.bias",
        "embed.space.weight",
        "embed.time.bias",
        "embed.time.weight",
    ]
    assert_equal(before, after)
    with pytest.raises(UserError, match=r"model\.patch_embedding: convolved != pca"):
        simtrain.fit(
            store, tmp_path / "other", "demo", overrides=[*SHORT, f"model.init={first.path}"], **QUIET
        )


def test_a_run_from_before_there_was_a_choice_goes_on_as_linear(store, tmp_path):
    linear = "model.patch_embedding=linear"
    run, _ = fit_run(store, tmp_path / "run", *SHORT, linear)
    file = run.path / "config.yaml"
    config = yaml.safe_load(file.read_text())
    assert config["model"].pop("patch_embedding") == "linear"
    file.write_text(yaml.safe_dump(config))
    longer = simtrain.fit(store, run.path, overrides={"train.steps": 4}, **QUIET)
    assert longer.metrics.step.tolist() == [1, 2, 3, 4]
    started = simtrain.fit(
        store, tmp_path / "new", "demo", overrides=[*SHORT, linear, f"model.init={run.path}"], **QUIET
    )
    assert np.isfinite(started.metrics["train/loss"]).all()


def test_the_example_in_the_docstring_is_right():
    must_run(PatchEmbedding, torch=torch, nn=torch.nn, PatchEmbedding=PatchEmbedding)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("bilinear", "", "'bilinear': choose from linear, odd, pca, per_patch, whitened, or one"),
        ("odd", "from torch.nn import Linear as Odd", "odd of odd .*: is no subclass of PatchEmbedding"),
        (
            "odd",
            "from simtrain.models.patch_embeddings import PatchEmbedding\n"
            "class Odd(PatchEmbedding):\n    def __init__(self, size, dim): ...",
            r"Odd\(size, dim\) cannot be called with \(patches, vertices, frames, dim\)",
        ),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_before_there_is_a_run(store, tmp_path, installed, name, code, message):
    installed("odd", GROUP, "odd = odd_module:Odd", code)
    chosen = f"model.patch_embedding={name}"
    with pytest.raises(UserError, match=message):
        simtrain.pretrain(store, tmp_path / "run", overrides=[*PRETRAINED, chosen], **QUIET)
    with pytest.raises(UserError, match=message):
        simtrain.fit(store, tmp_path / "run", "demo", overrides=[*SHORT, chosen], **QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["(2, 20)", "list"])
def test_tokens_of_another_shape_are_refused(given):
    class Odd(Linear):
        def forward(self, x):
            tokens = super().forward(x)
            return [tokens] if given == "list" else tokens.mean(dim=-1)

    model = SiT(patches=PATCHES, patch_size=18, dim=DIM, depth=1, heads=3, embedding=Odd)
    with pytest.raises(UserError) as error:
        model(torch.zeros(2, PATCHES, 18))
    assert f"patch embedding Odd: gave {given} for (2, 20, 18), not (2, 20, 24)" in str(error.value)
