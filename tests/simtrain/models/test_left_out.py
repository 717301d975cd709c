"""What training leaves out by chance: how much, of whom, and what that does to encoder and loss."""

import pytest
import torch
from torch.nn.functional import normalize

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.models.draws import SampleDraws
from simtrain.models.left_out import LeftOut
from simtrain.models.losses import configured, contrastive
from simtrain.models.sit import SiT

from .test_draws import samples

CPU, DRAWS, MANY = torch.device("cpu"), SampleDraws(0, 5), samples(4000)
SIZES = dict(patches=20, patch_size=18, dim=24, depth=3, heads=3, dim_head=16)
WEIGHTS = {("fmri", "video"): 0.5, ("fmri", "audio"): 0.3, ("video", "audio"): 0.2}


def test_nothing_is_left_out_unless_it_is_asked_for():
    none = LeftOut(0.0, 0.0, 0.0)
    features = {"video": torch.randn(len(MANY), 3)}
    assert none.paths(MANY, DRAWS, 3, CPU) is None
    assert none.compared(MANY, DRAWS, ("video", "audio"), CPU) is None
    assert none.thinned(features, MANY, DRAWS)["video"] is features["video"]


def test_paths_are_dropped_more_often_the_deeper_and_what_remains_is_scaled_up():
    paths = LeftOut(0.4, 0.0, 0.0).paths(MANY, DRAWS, 3, CPU)
    assert paths.shape == (len(MANY), 3, 2)
    for block, rate in enumerate((0.0, 0.2, 0.4)):
        assert set(paths[:, block].unique().tolist()) == (
            {1.0} if not rate else {0.0, float(paths[:, block].max())}
        )
        assert float(paths[:, block].max()) == pytest.approx(1 / (1 - rate))
        assert float((paths[:, block] == 0).float().mean()) == pytest.approx(rate, abs=0.02)
    assert 0.3 < float(((paths[:, 2, 0] == 0) == (paths[:, 2, 1] == 0)).float().mean()) < 0.7


def test_features_are_thinned_each_by_itself_and_their_mean_stays():
    features = {name: torch.ones(len(MANY), 6) for name in ("video", "audio")}
    thinned = LeftOut(0.0, 0.25, 0.0).thinned(features, MANY, DRAWS)
    for values in thinned.values():
        assert values.unique().tolist() == [0.0, pytest.approx(4 / 3)]
        assert float(values.mean()) == pytest.approx(1, abs=0.02)
    assert not torch.equal(thinned["video"], thinned["audio"])


@pytest.mark.parametrize("rate", [0.2, 0.95])
def test_one_modality_remains_of_every_sample(rate):
    compared = LeftOut(0.0, 0.0, rate).compared(MANY, DRAWS, ("video", "audio", "text"), CPU)
    kept = torch.stack(list(compared.values()))
    assert kept.any(dim=0).all()
    # All are left out with rate ** 3, and then one remains, any of them.
    assert float((~kept).float().mean()) == pytest.approx(rate - rate**3 / 3, abs=0.02)


@pytest.mark.parametrize("temporal", ["channels", "concat", "average"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_path_that_is_dropped_passes_its_branch_by(temporal, checkpointing):
    torch.manual_seed(0)
    model = SiT(**SIZES, frames=3, temporal=temporal, checkpointing=checkpointing)
    x, paths = torch.randn(2, 20, 18), torch.ones(2, 3, 2)
    torch.testing.assert_close(model(x, paths), model(x))
    paths[0, 1, 0], paths[1, 2, 1], paths[1, 0, 0] = 0, 0, 2.5

    def run(number):
        """The formula, of one sample."""
        tokens = model.embedded(model.by_token(x[number : number + 1]))
        rows = (
            (tokens + model.places).flatten(0, 1)
            if temporal == "average"
            else tokens.flatten(1, -2) + model.places
        )
        rows = torch.cat([model.class_token.expand(len(rows), -1, -1), rows], dim=1)
        for block, (attention, mlp) in zip(model.blocks, paths[number].tolist(), strict=True):
            rows = rows + attention * block.attention(rows)
            rows = rows + mlp * block.mlp(rows)
        return model.norm(rows)[:, 1:].mean(dim=(0, 1))

    found = model(x, paths)
    torch.testing.assert_close(found, torch.stack([run(0), run(1)]))
    found.sum().backward()
    assert model.blocks[1].attention.qkv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["infonce", "infonce_fixed", "siglip", "published"])
def test_the_loss_of_a_pair_is_that_of_the_samples_that_have_both(kind):
    torch.manual_seed(0)
    embeddings = {name: normalize(torch.randn(8, 5), dim=1) for name in ("fmri", "video", "audio")}
    ignore = torch.rand(8, 8) < 0.1
    ignore = (ignore | ignore.T) & ~torch.eye(8, dtype=bool)
    compared = {"video": torch.rand(8) < 0.7, "audio": torch.rand(8) < 0.7}
    loss = contrastive(kind, WEIGHTS, None)
    whole, parts = loss(embeddings, ignore, compared=compared)
    everyone = torch.ones(8, dtype=bool)
    for one, other in WEIGHTS:
        kept = compared.get(one, everyone) & compared.get(other, everyone)
        assert 1 < int(kept.sum()) < 8
        few = {name: values[kept] for name, values in embeddings.items()}
        _, expected = loss(few, ignore[kept][:, kept])
        torch.testing.assert_close(parts[f"{one}-{other}"], expected[f"{one}-{other}"])
    all_of_them, _ = loss(embeddings, ignore)
    assert not torch.equal(whole, all_of_them)
    nothing = {"video": torch.zeros(8, dtype=bool)}
    _, parts = loss(embeddings, ignore, compared=nothing)
    assert float(parts["fmri-video"]) == float(parts["video-audio"]) == 0


def test_modality_dropout_needs_two_modalities_of_the_film():
    with pytest.raises(
        UserError, match=r"loss\.modality_dropout: needs two modalities of the film.* there is video"
    ):
        load("demo", ["loss.modality_dropout=0.2"], "fmri,video")


def test_drop_path_needs_blocks_beyond_the_first():
    with pytest.raises(UserError, match=r"model: drop_path: .* a depth of 1 drops nothing"):
        load("demo", ["model.drop_path=0.2", "model.depth=1"])


def test_a_loss_of_ones_own_that_takes_no_part_of_a_batch_is_refused(tmp_path, monkeypatch):
    (tmp_path / "own_forward.py").write_text(
        "from simtrain.models.losses import FixedInfoNCE\n"
        "class Own(FixedInfoNCE):\n"
        "    def forward(self, embeddings, ignore, queued=None):\n"
        "        return super().forward(embeddings, ignore, queued)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    configured(load("demo", ["loss.kind=own_forward:Own"]))
    with pytest.raises(UserError, match="compared"):
        configured(load("demo", ["loss.kind=own_forward:Own", "loss.modality_dropout=0.2"]))
