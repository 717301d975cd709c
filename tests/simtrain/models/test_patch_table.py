"""A user's table of patches: what the encoder sees in its order, and that a run keeps it."""

import numpy as np
import pytest
import torch
from rich.console import Console
from training_runs import TINY

from simdata.common.errors import UserError
from simtrain.config.composition import load, parse
from simtrain.config.schema import Config
from simtrain.data.dataset import open_dataset, resolve
from simtrain.models.mae import MAE
from simtrain.models.masking import Mask, Masking
from simtrain.models.patch_table import PatchTable, kept_table, resolve_patches
from simtrain.models.sit import SiT
from simtrain.surface.patches import patch_vertices
from simtrain.training import checkpoint
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")


def _write(path, table):
    np.savetxt(
        path, table.T, fmt="%d", delimiter=",", header=",".join(map(str, range(len(table)))), comments=""
    )
    return path


@pytest.fixture(scope="module")
def shuffled():
    rng = np.random.default_rng(0)
    return rng.permuted(patch_vertices(1)[rng.permutation(80)], axis=1)


def _encoder(**options):
    torch.manual_seed(0)
    return SiT(
        patches=80, patch_size=561 * 2, dim=8, depth=1, heads=1, dim_head=8, frames=2, **options
    ).double()


@pytest.mark.parametrize(
    "options",
    [
        dict(temporal="channels"),
        dict(temporal="concat"),
        dict(temporal="concat", frame_positions="sequence", class_token=False),
        dict(temporal="mean_frame"),
    ],
)
def test_the_encoder_is_that_of_patches_in_the_order_of_the_table(tmp_path, shuffled, options):
    table = PatchTable.read(_write(tmp_path / "mine.csv", shuffled), 1)
    stored, plain = _encoder(layout="stored", **options), _encoder(**options)
    table.lay_out(stored)
    bold = torch.randn(3, 40962, 2, dtype=torch.float64)
    ours = bold[:, patch_vertices(1)].flatten(2)  # the frames of a vertex lie together
    theirs = bold[:, table.vertices].flatten(2)
    torch.testing.assert_close(stored(ours), plain(theirs))


def test_a_vsmae_is_that_of_patches_in_the_order_of_the_table(tmp_path, shuffled):
    """With its decoder's positions, and what it predicts, each at its place."""
    table = PatchTable.read(_write(tmp_path / "mine.csv", shuffled), 1)
    options = dict(temporal="concat", frame_positions="sequence", class_token=False)
    stored, plain = (
        MAE(_encoder(layout=layout, **options), frames=2, kind="tubes", dim=12, depth=1, heads=1, dim_head=8)
        for layout in ("stored", "geometry")
    )
    stored.load_state_dict({**stored.state_dict(), **plain.state_dict()})
    stored.double(), plain.double()
    table.lay_out(stored.encoder, stored.positions)
    bold = torch.randn(3, 40962, 2, dtype=torch.float64)
    theirs = Masking("tubes", 0.75, 80, 2, apart=True).draw(range(3), CPU)
    geometry = {tuple(sorted(patch)): place for place, patch in enumerate(patch_vertices(1).tolist())}
    places = torch.tensor([geometry[tuple(sorted(patch))] for patch in table.vertices.tolist()])
    hidden = torch.empty_like(theirs.hidden)
    hidden[:, places] = theirs.hidden
    visible = (~hidden).transpose(1, 2).flatten(1).nonzero()[:, 1].view(3, -1)
    expected = plain(bold[:, table.vertices].flatten(2), theirs).unflatten(2, (-1, 2))
    found = stored(bold[:, patch_vertices(1)].flatten(2), Mask(hidden, visible)).unflatten(2, (-1, 2))
    on_surface = torch.zeros(2, 80, 40962, 3, 2, dtype=torch.float64)
    on_surface[0, places[:, None], table.vertices] = expected.permute(1, 2, 0, 3)
    on_surface[1, torch.arange(80)[:, None], patch_vertices(1)] = found.permute(1, 2, 0, 3)
    torch.testing.assert_close(on_surface[1], on_surface[0])


def test_a_run_keeps_its_table_and_goes_on_without_the_file(store, tmp_path, shuffled):
    file, out = _write(tmp_path / "mine.csv", shuffled), tmp_path / "run"
    fit_run(store, out, f"model.patches={file}")
    file.unlink()
    run = FitRun.open(out)
    before = checkpoint.load(run.checkpoint)["learner"]["sim.encoder.order"]
    fit_run(store, out, f"model.patches={file}")
    table = kept_table(out, run.config.model.patches, 1)
    assert np.array_equal(table.vertices, shuffled)
    assert run.config.model.patches == table.key
    learner = load_learner(run, open_dataset(store), CPU)
    assert torch.equal(learner.sim.encoder.order, before)
    assert not torch.equal(before[0], torch.arange(561 * 3))
    with (out / "patches.csv").open("a") as changed:
        changed.write("\n")
    with pytest.raises(UserError, match=r"patches\.csv is not what the run began with"):
        kept_table(out, run.config.model.patches, 1)


def fit_run(store, out, *overrides):
    dataset = open_dataset(store)
    config, table = resolve_patches(
        load("demo", [*TINY, "model.positions=sincos", "train.steps=1", *overrides]), out
    )
    run = FitRun.start(out, resolve(config, dataset), dataset, table=table)
    fit(dataset, run, CPU, Console(quiet=True))


def test_a_table_of_another_size_or_file_is_refused(tmp_path, shuffled):
    with pytest.raises(UserError, match=r"model\.patches: .*mine\.csv.*model\.ico: 2"):
        PatchTable.read(_write(tmp_path / "mine.csv", shuffled), 2)
    missing = ["model.positions=sincos", f"model.patches={tmp_path / 'none.csv'}"]
    with pytest.raises(UserError, match=r"model\.patches: .*none\.csv"):
        resolve_patches(load("demo", missing), tmp_path / "run")
    shuffled = shuffled.copy()
    shuffled[0] = shuffled[1]
    with pytest.raises(UserError, match=r"model\.patches: .*not the faces"):
        PatchTable.read(_write(tmp_path / "mine.csv", shuffled), 1)


def test_an_initial_encoder_brings_its_own_order():
    with pytest.raises(UserError, match="patches does not go with init"):
        parse({"model": {"patches": "a.csv", "init": "run"}}, "mine.yaml", Config)


@pytest.mark.templates
def test_the_published_table_is_read(seed_files):
    table = PatchTable.read(seed_files / "triangle_indices_ico_6_sub_ico_3.csv", 3)
    assert table.vertices.shape == (1280, 45)
