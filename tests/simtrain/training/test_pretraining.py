"""Pretraining from the store: what it counts, that it learns, that it resumes; and its maps."""

import json
import os
import signal

import nibabel
import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.surface.meshes import icosphere, icosphere_vertices
from simtrain.config.composition import load, presets
from simtrain.config.schema import PretrainConfig, changes
from simtrain.data import windows
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Batch
from simtrain.data.order import Cursor
from simtrain.models.factory import surface_encoder
from simtrain.models.mae import masked_error
from simtrain.models.main_axes import PASSES
from simtrain.models.masked_learner import IDENTITY, MaskedLearner
from simtrain.surface.gifti import write_sphere
from simtrain.surface.patches import patch_vertices
from simtrain.training import checkpoint, pretraining
from simtrain.training.pretraining import Pretraining
from simtrain.training.pretraining_maps import load_learner, maps_of, write_reconstructions
from simtrain.training.run_folder import FitRun, PretrainRun

CPU = torch.device("cpu")
SHARED = ["model.patch_embedding=linear", "mae.decoding=linear", "mae.summary=false"]
BY_COMPONENTS = ["model.patch_embedding=pca", "mae.decoding=pca", "mae.summary=true"]
TINY = [
    *SHARED,
    *("model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=8", "mae.decoder_dim=16"),
    *("train.steps=12", "train.batch_size=8", "train.log_every=1", "train.checkpoint_every=5"),
    *("train.validate_every=6", "train.validation_samples=16"),
]
VSMAE = [
    "model.temporal=concat",
    "model.frame_positions=sequence",
    "model.positions=sincos",
    "model.class_token=false",
]
KINDS = {"tubes": [], "random": ["mae.mask=random"], "vsmae": VSMAE, "components": BY_COMPONENTS}
LATER = [
    *(("model", "class_token"), ("model", "frame_positions"), ("mae", "loss"), ("mae", "counted")),
    *(("mae", "decoding"), ("mae", "components"), ("mae", "summary")),
]
ALL_KINDS = KINDS | {
    "vsmae of any tokens": [*VSMAE, "mae.mask=random", "mae.counted=hidden", "mae.loss=l1"],
    "vsmae of everything": [*VSMAE, "mae.counted=all", "model.checkpointing=true"],
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads on tensors as small as these wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _pretrain(store, out, *overrides):
    dataset = open_dataset(store)
    config = load("demo", [*TINY, *overrides], kind=PretrainConfig)
    run = PretrainRun.start(out, resolve(config, dataset), dataset)
    return run, pretraining.pretrain(dataset, run, CPU, Console(quiet=True))


def _lines(run):
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("feed/")} for line in lines]


def _training(store, *overrides):
    dataset = open_dataset(store)
    config = resolve(load("demo", [*TINY, *overrides], kind=PretrainConfig), dataset)
    torch.manual_seed(0)
    training = Pretraining(config, MaskedLearner(config, dataset))
    samples = windows.by_hemisphere(windows.validation(windows.Windows.of(dataset, config).find()))[::15][:6]
    index = np.stack([samples[field] for field in IDENTITY], axis=1)
    stored = torch.from_numpy(BoldReader(store).read(index, config.data.frames))
    return training, Batch(samples, stored, None), dataset


def _gradients(training):
    return {
        name: parameter.grad.clone()
        for name, parameter in training.learner.named_parameters()
        if parameter.grad is not None
    }


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def straight(kind, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrain") / kind
    run, stopped = _pretrain(store, out, *KINDS[kind], "model.dropout=0.1")
    assert stopped is None
    return run


def test_an_interrupted_run_goes_on_bit_for_bit(store, tmp_path, kind, straight, monkeypatch):
    update = Pretraining.update

    def interrupted(self, batch):
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch)

    overrides = [*KINDS[kind], "model.dropout=0.1"]
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "update", interrupted)
        run, stopped = _pretrain(store, tmp_path / "run", *overrides)
    assert stopped == signal.SIGINT
    torch.rand(3)  # what else draws from the global generator must not matter
    run, stopped = _pretrain(store, tmp_path / "run", *overrides)
    assert stopped is None
    one, other = checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint)
    assert all(torch.equal(one["learner"][name], other["learner"][name]) for name in other["learner"])
    assert one["cursor"] == other["cursor"]
    assert _lines(run) == _lines(straight)


@pytest.mark.parametrize("mask", ["tubes", "random"])
def test_a_run_of_before_there_were_tokens_of_frames_loads_and_goes_on(store, tmp_path, mask):
    """Its configuration lacks the keys, and its weights have the names that they had."""
    run, _ = _pretrain(store, tmp_path / "run", f"mae.mask={mask}")
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    for section, key in LATER:
        del config[section][key]
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    assert PretrainRun.open(run.path).config == run.config
    beside = {"tubes": "mae.mask_token", "random": "mae.missing"}[mask]
    names = {name for name in checkpoint.load(run.checkpoint)["learner"] if name.count(".") < 3}
    assert names == {beside, "mae.encoder.class_token"} | {
        f"mae.{layer}.{end}" for layer in ("to_decoder", "norm", "to_values") for end in ("weight", "bias")
    }
    load_learner(PretrainRun.open(run.path), open_dataset(store), CPU)
    longer, stopped = _pretrain(store, run.path, f"mae.mask={mask}", "train.steps=13")
    assert (stopped, checkpoint.load(longer.checkpoint)["step"]) == (None, 13)


def test_the_records_are_the_losses_and_the_errors_of_predicting_zero(straight):
    lines = _lines(straight)
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 13))
    scores = {"val/loss", "val/zero", "val/unseen", "val/unseen-zero"}
    assert [line["step"] for line in lines if scores <= set(line)] == [6, 12]
    assert lines[-1]["val/zero"] == pytest.approx(1.0, abs=0.1)  # z-scores
    assert PretrainRun.open(straight.path).config == straight.config


@pytest.mark.parametrize(
    ("settings", "share"),
    [(["data.frames=1"], 0.3), ([*VSMAE, "data.frames=2"], 0.5)],
    ids=["channels", "vsmae"],
)
def test_it_learns_what_the_patches_of_a_window_share(store, settings, share):
    linear = "model.patch_embedding=linear"  # which needs no look at training windows
    training, batch, _ = _training(store, linear, "train.steps=40", "train.learning_rate=1e-2", *settings)
    pattern = np.where(np.arange(40962) < icosphere_vertices(5), -45, 15)
    rng = np.random.default_rng(0)
    losses = []
    for step in range(40):
        signs = rng.choice([-1, 1], (*batch.stored.shape[:2], 1))  # of each frame its own
        stored = torch.from_numpy((signs * pattern).astype(np.int8))
        losses.append(float(training.update(Batch(batch.samples, stored, Cursor(0, step)))["loss"]))
    scores = training.scores(Batch(batch.samples, stored, None))
    assert losses[0] > 0.9
    assert scores["loss"] < share * scores["zero"]
    assert scores["unseen"] < share * scores["unseen-zero"]


@pytest.mark.slow
def test_components_of_patches_and_a_summary_find_what_patches_tell_of_each_other(store):
    """Each patch has a pattern of its own, and all have the same amplitude, in much noise."""
    steps = 200
    pattern = np.random.default_rng(1).standard_normal(40962)

    def windows_of(rng, batch):
        amplitude = rng.standard_normal((*batch.stored.shape[:2], 1))
        noise = rng.standard_normal(batch.stored.shape)
        return torch.from_numpy((20 * (amplitude * pattern + noise)).clip(-127, 127).astype(np.int8))

    def error(*settings):
        sizes = [f"train.steps={steps}", "model.dim=16", "mae.decoder_dim=16", "train.learning_rate=5e-3"]
        training, batch, _ = _training(store, *sizes, *settings)
        learner, rng = training.learner, np.random.default_rng(0)
        if learner.fitted:
            seen = [learner.frames.of_samples(batch.samples, windows_of(rng, batch)) for _ in range(40)]
            learner.fit(lambda: iter(seen))
        for step in range(steps):
            training.update(Batch(batch.samples, windows_of(rng, batch), Cursor(0, step)))
        scores = training.scores(Batch(batch.samples, windows_of(rng, batch), None))
        return (scores["unseen"] / scores["unseen-zero"]).item()

    assert error(*BY_COMPONENTS) < 0.9  # of which .5 is noise
    assert error() > 0.97


@pytest.mark.parametrize(("components", "rounds"), [(12, 1), (5, 2)])
def test_embedding_and_decoding_of_as_many_components_share_their_passes(store, components, rounds):
    training, batch, _ = _training(store, *BY_COMPONENTS, f"mae.components={components}")
    learner, asked = training.learner, []
    patches = learner.frames.of_samples(batch.samples, batch.stored)

    def blocks():
        asked.append(1)
        return iter([patches])

    learner.fit(blocks)
    assert len(asked) == rounds * (1 + PASSES)
    fitted = [type(part)(**sizes) for part, sizes in _parts(learner, components)]
    for part, (there, _) in zip(fitted, _parts(learner, components), strict=True):
        part.fit(lambda: iter([learner.encoder.by_token(patches)]))
        assert torch.equal(part.axes, there.axes)


def _parts(learner, components):
    """The embedding and the decoding, each with its sizes."""
    patches, vertices = learner.frames.shape
    embed, decoding = learner.encoder.embed, learner.mae.to_values
    sizes = {"patches": patches, "dim": learner.encoder.dim}
    yield embed, {**sizes, "vertices": vertices, "frames": 3, "components": embed.axes.shape[2]}
    yield decoding, {**sizes, "values": 3 * vertices, "components": components}


def test_windows_are_those_of_training_scenes_and_subjects(store):
    dataset = open_dataset(store)
    config = resolve(load("demo", kind=PretrainConfig), dataset)
    found = windows.training(windows.Windows.of(dataset, config).find())
    assert {dataset.subjects[position] for position in found["subject"]} == {"s1", "s2", "s3"}
    for movie, start, stop in ((0, 2, 42), (1, 1, 40)):
        seconds = found["second"][found["movie"] == movie]
        assert (seconds.min() - 6, seconds.max() - 6 + 3) == (start, stop)


def test_the_mask_of_a_sample_depends_on_seed_step_and_the_sample(store):
    training, batch, _ = _training(store)
    mask = training.learner.mask
    whole = mask(batch.samples, 0, 3).hidden
    assert torch.equal(whole[2:4], mask(batch.samples[2:4], 0, 3).hidden)
    assert not torch.equal(whole, mask(batch.samples, 0, 4).hidden)
    assert not torch.equal(whole, mask(batch.samples, 1, 3).hidden)
    assert len({tuple(one.flatten().tolist()) for one in whole}) == len(whole)


@pytest.mark.parametrize("settings", [*KINDS.values(), [*VSMAE, "mae.mask=random"]])
def test_hidden_values_in_the_cortex_count_and_no_others(store, settings):
    training, batch, dataset = _training(store, *settings)
    learner, patches = training.learner, patch_vertices(1)
    filled = training.fill(batch, training.learner.mask(batch.samples, 0, 1))
    unseen = learner.unseen(filled)
    shape = (len(patches), patches.shape[1], 3)
    for sample, row in enumerate(batch.samples):
        hidden, cortex = filled.hidden[sample].numpy(), dataset.cortex[row["hemisphere"]]
        expected = hidden[:, None, :] & cortex[patches][:, :, None]
        np.testing.assert_array_equal(filled.counted[sample].reshape(shape), expected)
        for frame in range(3):
            shown = np.unique(patches[~hidden[:, frame]])
            expected[:, :, frame] &= ~np.isin(patches, shown)
        np.testing.assert_array_equal(unseen[sample].reshape(shape), expected)
    assert 0 < unseen.sum() < filled.counted.sum()


def test_predictions_of_what_is_visible_or_outside_the_cortex_have_no_gradient(store):
    training, batch, _ = _training(store)
    filled = training.fill(batch, training.learner.mask(batch.samples, 0, 1))
    (gradient,) = torch.autograd.grad(
        masked_error(filled.predicted, filled.target, filled.counted), filled.predicted
    )
    assert (gradient[~filled.counted] == 0).all()
    assert (gradient[filled.counted] != 0).float().mean() > 0.99
    error = training.error(batch, training.mask(batch, 1))
    torch.testing.assert_close(error, (filled.predicted - filled.target)[filled.counted].square().mean())


@pytest.mark.parametrize("settings", ALL_KINDS.values(), ids=ALL_KINDS)
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(store, settings):
    whole, batch, _ = _training(store, *settings)
    parts, _, _ = _training(store, *settings, "train.accumulate=4")
    losses = [training.gradients(batch)[0] for training in (whole, parts)]
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[0], whole.error(batch, whole.mask(batch, 1)).detach())
    expected, found = _gradients(whole), _gradients(parts)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("counted", ["hidden", "all"])
def test_the_error_is_over_hidden_values_of_the_wall_too_or_over_all(store, counted, loss):
    training, batch, _ = _training(store, *VSMAE, f"mae.counted={counted}", f"mae.loss={loss}")
    mask = training.mask(batch, 1)
    filled = training.fill(batch, mask)
    difference = filled.predicted - filled.values  # 0 in the medial wall
    errors = (difference.square() if loss == "mse" else difference.abs()).unflatten(2, (-1, 3))
    hidden = mask.hidden[:, :, None].expand(errors.shape)
    expected = errors[hidden].mean() if counted == "hidden" else errors.mean()
    torch.testing.assert_close(training.error(batch, mask), expected)
    outside = ~training.learner.with_data(batch.samples, batch.stored)
    assert filled.counted[outside].any()
    assert not training.learner.unseen(filled)[outside].any()


def test_a_token_of_one_frame_is_normalised_by_itself(store):
    training, batch, _ = _training(store, *VSMAE, "mae.normalise_target=true")
    filled = training.fill(batch, training.mask(batch, 1))
    patch = int(filled.with_data[0].all(dim=1).nonzero()[0])
    of_frames, target = (of[0, patch].unflatten(0, (-1, 3)) for of in (filled.values, filled.target))
    expected = (of_frames - of_frames.mean(dim=0)) / (of_frames.var(dim=0, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(target, expected)


def test_a_summary_is_refused_where_the_encoder_sees_all_tokens():
    with pytest.raises(UserError, match=r"needs mae\.summary: false"):
        load("sim-tiny", ["mae.mask=random"], kind=PretrainConfig)


def test_components_of_values_are_not_for_targets_that_are_normalised():
    with pytest.raises(UserError, match=r"mae\.normalise_target: true does not go with mae\.decoding: pca"):
        load("sim-tiny", ["mae.normalise_target=true"], kind=PretrainConfig)


def test_frames_that_are_no_tokens_of_one_sequence_are_refused():
    for temporal in ("average", "mean_frame"):
        with pytest.raises(UserError, match=f"model.temporal: {temporal} is not for pretraining"):
            load("demo", [f"model.temporal={temporal}"], kind=PretrainConfig)


def test_a_normalised_target_has_mean_0_and_s_d_1_in_the_cortex_of_a_patch(store):
    training, batch, _ = _training(store, "mae.normalise_target=true")
    filled = training.fill(batch, training.learner.mask(batch.samples, 0, 1))
    cortex = training.learner.with_data(batch.samples, batch.stored)
    patch = int(cortex[0].all(dim=1).nonzero()[0])
    inside = filled.target[0, patch]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(
        filled.target[cortex], ((filled.values - filled.scale.mean) / filled.scale.deviation)[cortex]
    )


def test_too_few_samples_and_another_kind_of_run_are_named(store, tmp_path, straight):
    with pytest.raises(UserError, match=r"training samples.*train\.batch_size: 1000"):
        _pretrain(store, tmp_path / "run", "train.batch_size=1000")
    with pytest.raises(UserError, match=r"is a run of `simtrain pretrain`.*needs one of `simtrain fit`"):
        FitRun.open(straight.path)


def test_the_presets_are_valid_and_of_the_encoders_of_fit():
    both = presets(PretrainConfig).keys() & presets().keys()
    assert both == {"demo", "sim-tiny", "sim-small", "sim-base"}
    assert presets(PretrainConfig).keys() == both | {"vsmae"}
    for name in both:
        encoder = load(name, kind=PretrainConfig).model.model_dump()
        assert encoder.items() <= load(name).model.model_dump().items()
    published = load("vsmae", kind=PretrainConfig)
    mae, train = published.mae, published.train
    assert (mae.mask, mae.ratio, mae.loss, mae.counted) == ("tubes", 0.75, "mse", "hidden")
    assert (mae.decoder_dim, mae.decoder_depth, mae.decoder_heads) == (192, 3, 3)
    assert (train.batch_size, train.learning_rate, train.weight_decay) == (8, 3e-4, 0.01)
    assert published.data.moments == "any"
    assert (train.schedule, train.warmup, train.clip_norm, train.decayed) == ("constant", 0, None, "all")
    shape = patch_vertices(published.model.ico).shape
    encoder = surface_encoder(published.model, shape, published.data.frames)
    assert (encoder.places.shape[1], encoder.class_tokens) == (3840, 0)
    tiny, base = (load(name, kind=PretrainConfig) for name in ("sim-tiny", "sim-base"))
    assert changes(tiny, base) == {"model.dim": (192, 768), "model.heads": (3, 12)}
    assert (tiny.mae.decoding, tiny.mae.summary) == ("pca", True)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("settings", [[], [*VSMAE, "mae.counted=all"]], ids=["channels", "vsmae"])
def test_maps_are_predictions_where_nothing_is_visible_and_the_original_elsewhere(store, normalise, settings):
    training, batch, dataset = _training(store, f"mae.normalise_target={normalise}", *settings)
    learner, patches = training.learner, patch_vertices(1)
    with torch.no_grad():
        filled = training.fill(batch, training.learner.mask(batch.samples, 0, 1))
        maps = maps_of(learner, filled)
    cortex = torch.from_numpy(dataset.cortex)[batch.samples["hemisphere"].astype(int)]
    hemisphere = torch.from_numpy(batch.samples["hemisphere"].astype(int))
    torch.testing.assert_close(maps.original, learner.frames.zscore(batch.stored, hemisphere))
    for name in ("original", "masked", "reconstruction"):
        assert (getattr(maps, name).transpose(1, 2)[~cortex] == 0).all()
    assert torch.equal(maps.masked, torch.where(maps.unseen, 0.0, maps.original))
    assert torch.equal(maps.reconstruction[~maps.unseen], maps.original[~maps.unseen])
    mean, deviation = filled.scale or (0.0, 1.0)
    predicted = filled.predicted * deviation + mean
    predicted = predicted.reshape(len(batch.samples), *patches.shape, 3)
    for vertex in np.flatnonzero(maps.unseen[0, 0].numpy())[::2000]:
        mean = predicted[0, :, :, 0][torch.from_numpy(patches == vertex)].mean()
        torch.testing.assert_close(maps.reconstruction[0, 0, vertex], mean)


def test_files_of_maps_read_back_as_they_were(store, tmp_path, straight):
    dataset = open_dataset(store)
    written = write_reconstructions(straight, dataset, tmp_path / "maps", 2, CPU)
    assert len(written) == 4
    assert len(list((tmp_path / "maps").iterdir())) == 2 + 4 * 3
    learner = load_learner(straight, dataset, CPU)
    found = windows.validation(windows.Windows.of(dataset, straight.config).find())[[0, -1]]
    for window, (name, correlation) in zip(np.repeat(found, 2), written, strict=True):
        subject, _, second, hemisphere = name.split(".")
        assert (dataset.subjects[window["subject"]], f"s{window['second']}") == (subject, second)
        samples = windows.by_hemisphere(np.atleast_1d(window))["LR".index(hemisphere) :][:1]
        index = np.stack([samples[field] for field in IDENTITY], axis=1)
        stored = torch.from_numpy(BoldReader(store).read(index, 3))
        with torch.no_grad():
            maps = maps_of(learner, learner.fill(samples, stored, learner.mask(samples, 0, 0)))
        for kind in ("original", "masked", "reconstruction"):
            image = nibabel.load(tmp_path / "maps" / f"{name}.{kind}.func.gii")
            assert {array.intent for array in image.darrays} == {2001}  # NIFTI_INTENT_TIME_SERIES
            assert (
                image.meta["AnatomicalStructurePrimary"] == f"Cortex{dict(L='Left', R='Right')[hemisphere]}"
            )
            read = np.stack([array.data for array in image.darrays])
            # Batches of another size may round otherwise.
            np.testing.assert_allclose(read, getattr(maps, kind)[0], rtol=0, atol=1e-5)
        assert -1 <= correlation <= 1


def test_spheres_are_those_of_the_store_with_normals_outward(tmp_path):
    for hemisphere, sign in (("L", 1), ("R", -1)):
        path = tmp_path / f"{hemisphere}.sphere.surf.gii"
        write_sphere(path, hemisphere)
        points, faces = nibabel.load(path).agg_data()
        np.testing.assert_array_equal(points, (icosphere(6)[0] * [sign, 1, 1]).astype("f4"))
        a, b, c = points[faces[::5000]].transpose(1, 0, 2)
        assert ((np.cross(b - a, c - a) * a).sum(axis=1) > 0).all()
