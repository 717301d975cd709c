"""Positions of patches, and blocks whose tokens do not see each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import TINY, fit_run

import simtrain
from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.models.factory import freeze
from simtrain.models.positions import sincos_positions
from simtrain.models.sit import SiT
from simtrain.surface.harmonics import spherical_harmonics
from simtrain.surface.patches import patch_centres
from simtrain.training import checkpoint

PATCHES, FRAMES = 20, 3
SIZES = dict(patches=PATCHES, patch_size=18, dim=24, depth=2, heads=3, dim_head=8)
ALONE = ["model.pool=mean", "model.class_token=false", "model.attention=false"]
SHORT = [*TINY, "train.steps=3", "train.validate_every=3"]
PERMUTED = st.permutations(range(PATCHES))


def _encoder(**options):
    torch.manual_seed(0)
    return SiT(**{**SIZES, **options})


def test_geometric_positions_are_a_linear_map_of_harmonics_of_the_patches_centres():
    encoder = _encoder(positions="geometric", degree=4)
    values = torch.from_numpy(spherical_harmonics(patch_centres(PATCHES), 4)).float()
    assert values.shape == (PATCHES, 25)
    expected = values * np.sqrt(4 * np.pi) @ encoder.to_place.weight.T
    torch.testing.assert_close(encoder.places[0], expected)
    x = torch.randn(2, PATCHES, 18)
    tokens = x @ encoder.embed.weight.T + encoder.embed.bias + expected
    torch.testing.assert_close(encoder.tokens(x), encoder.attend(tokens))


def test_learned_positions_are_weights_and_those_of_the_geometry_are_not_stored():
    learned, geometric = _encoder(positions="learned"), _encoder(positions="geometric")
    assert dict(learned.named_parameters())["positions"].shape == (1, PATCHES, 24)
    assert "positions" in learned.state_dict()
    assert "positions" not in geometric.state_dict()


@pytest.mark.parametrize("positions", ["learned", "geometric"])
def test_each_frame_of_a_patch_has_the_patchs_position(positions):
    encoder = _encoder(positions=positions, frames=FRAMES, temporal="concat")
    expected = torch.cat([encoder.to_place(encoder.positions)[0] + one for one in encoder.frame_embedding])
    torch.testing.assert_close(encoder.places[0], expected)


@pytest.mark.parametrize("positions", ["learned", "geometric"])
def test_they_stay_when_the_first_blocks_are_frozen(positions):
    encoder = _encoder(positions=positions)
    freeze(encoder, 1)
    trained = {name for name, values in encoder.named_parameters() if values.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"blocks", "norm"}


@settings(max_examples=20, deadline=None)
@given(PERMUTED)
def test_blocks_know_no_order_of_tokens_but_their_positions(order):
    encoder, x = _encoder(), torch.randn(1, PATCHES, 24)
    found = encoder.attend(x[:, order])
    torch.testing.assert_close(found[:, 1:], encoder.attend(x)[:, 1:][:, order], atol=1e-5, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, PATCHES - 1)))
def test_without_attention_a_token_is_of_its_patch_alone(changed):
    encoder, x = _encoder(attention=False, class_token=False), torch.randn(2, PATCHES, 18)
    other, index = x.clone(), sorted(changed)
    other[:, index] += 1
    differs = (encoder.tokens(x) != encoder.tokens(other)).any(dim=2)
    assert differs.nonzero()[:, 1].unique().tolist() == index


def test_without_attention_a_block_is_its_mlp():
    encoder, x = _encoder(attention=False, class_token=False), torch.randn(2, PATCHES, 18)
    tokens = encoder.embed(x) + sincos_positions(PATCHES, 24)
    for block in encoder.blocks:
        assert not any("attention" in name for name, _ in block.named_parameters())
        tokens = tokens + block.mlp(tokens)
    torch.testing.assert_close(encoder(x), encoder.norm(tokens).mean(dim=1))


@pytest.mark.parametrize("given", [["model.positions=learned"], ["model.positions=sincos"], ALONE])
def test_they_train_and_others_do_not_start_from_them(store, tmp_path, given):
    run, _ = fit_run(store, tmp_path / "run", *SHORT, *given)
    assert checkpoint.load(run.checkpoint)["step"] == 3
    with pytest.raises(UserError, match=rf"model\.{given[-1][6:].split('=')[0]}: "):
        simtrain.fit(
            store,
            tmp_path / "other",
            "demo",
            overrides=[*SHORT, f"model.init={run.path}"],
            device="cpu",
            progress=False,
        )


@pytest.mark.parametrize("given", [["model.positions=geometric"], ALONE])
def test_they_are_pretrained(store, tmp_path, given):
    own = [text for text in (*SHORT, *given) if not text.startswith(("projector", "model.pool"))]
    run = simtrain.pretrain(store, tmp_path / "run", overrides=own, device="cpu", progress=False)
    assert np.isfinite(run.metrics["val/loss"].dropna()).all()


@pytest.mark.parametrize("method", ["rollout", "attention"])
def test_there_are_no_maps_of_attention_that_is_not_there(store, tmp_path, method):
    run, _ = fit_run(store, tmp_path / "run", *SHORT, *ALONE)
    with pytest.raises(UserError, match="the model has no attention"):
        simtrain.saliency(run.path, store, method=method, device="cpu", save=False)
    assert (
        simtrain.saliency(run.path, store, method="gradient", device="cpu", save=False).mean.notnull().any()
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["model.class_token=true", "model.attention=false"], "attention: false needs class_token: false"),
        (["model.layout=stored", "model.positions=learned"], "positions: learned do not go with patches or"),
        (["model.patches=table.csv", "model.positions=geometric"], "positions: geometric do not go with pat"),
        (
            ["model.temporal=concat", "model.frame_positions=sequence", "model.positions=learned"],
            "frame_positions: sequence does not go with positions: learned",
        ),
    ],
)
def test_what_makes_no_sense_together_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        load("sim-tiny", given)
