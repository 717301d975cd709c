"""Against the published architecture, written out again from its description (published_architecture.py)."""

import csv
import hashlib
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import yaml
import zarr
from click.testing import CliRunner
from published_architecture import PLAIN, WRAPPED, affine, linear, mixed, normed, save, tokens, transformer
from published_weights import (
    DIM,
    FRAMES,
    HEADS,
    random_sim,
    random_sit,
    random_wrapper,
    write_weights,
)
from torch.nn.functional import gelu, normalize

import simtrain
from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import SAMPLE
from simtrain.models.factory import surface_encoder
from simtrain.models.published_frames import tokenisation
from simtrain.models.published_names import read_encoder, read_state
from simtrain.models.sit import SiT
from simtrain.surface.patches import patch_vertices, read_patches
from simtrain.training.published import Files, import_weights
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner


def published_wrapper(state, x):
    projected = linear(x, state, "projection")
    return normed(linear(gelu(projected), state, "fc") + projected, state, "layer_norm")


def _shuffled_table(path, ico=1):
    """A table of the patches in an order of its own, and each patch in its own."""
    rng = np.random.default_rng(0)
    table = rng.permuted(rng.permutation(patch_vertices(ico)), axis=1)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([range(len(table)), *table.T])
    return path, table


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A published model in files, as the published code leaves them, and its tensors."""
    tensors, encoder, wrappers = write_weights(tmp_path_factory.mktemp("weights"))
    return Files(encoder, wrappers), tensors


@pytest.fixture(scope="module")
def dataset(store):
    return open_dataset(store)


def _windows(dataset, frames=FRAMES):
    samples = np.zeros(3, SAMPLE)
    samples["hemisphere"], samples["movie"], samples["clip"] = [0, 1, 1], [0, 0, 1], [5, 9, 30]
    stored = torch.from_numpy(np.random.default_rng(3).standard_normal((3, frames, 40962)).astype("f4"))
    return samples, stored


def _as_published(stored, samples, dataset):
    """What the published retrieval sees: frames of demeaned BOLD, z-scored over the cortex."""
    scanned = zarr.open_array(dataset.path, path="bold_std")
    sequence = np.zeros_like(stored)
    for values, row, sample in zip(stored, sequence, samples, strict=True):
        hemisphere = int(sample["hemisphere"])
        inside = dataset.cortex[hemisphere]
        std = scanned[int(sample["subject"]), int(sample["movie"]), hemisphere][inside]
        demeaned = values[:, inside].astype(float) * std
        row[:, inside] = (demeaned - demeaned.mean(axis=1, keepdims=True)) / demeaned.std(
            axis=1, keepdims=True
        )
    return sequence


def _must_equal_published(files, tensors, table, dataset, out, temporal_rep="channels"):
    run = import_weights(dataset, out, files)
    learner = load_learner(run, dataset, torch.device("cpu"))
    samples, stored = _windows(dataset)
    sequence = torch.from_numpy(_as_published(stored.numpy(), samples, dataset))[:, :, table]
    with torch.no_grad():
        ours = learner.embed(samples, stored)
    sit = {key.removeprefix("encoder."): value for key, value in tensors["encoder"].items()}
    encoded = tokens(sit, tensors["encoder"]["cls_token"], mixed(sequence, temporal_rep), HEADS)
    expected = {"fmri": published_wrapper(tensors["fmri"], encoded[:, 1:]).mean(dim=1)}
    for name, embedding in dataset.embeddings(run.config).items():
        raw = torch.from_numpy(embedding.values[samples["movie"], samples["clip"]])
        expected[name] = published_wrapper(tensors[name], raw)
    for name, embedding in expected.items():
        torch.testing.assert_close(ours[name], normalize(embedding, dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("names", [WRAPPED, PLAIN], ids=["prenorm", "norm within"])
def test_embeddings_equal_the_published_ones(names, weights, dataset, tmp_path):
    files, tensors = weights
    tensors = tensors | {"encoder": random_sim(names)}
    path, table = _shuffled_table(tmp_path / "table.csv")
    files = Files(save(tensors["encoder"], tmp_path / "encoder.pt"), files.wrappers, path)
    _must_equal_published(files, tensors, table, dataset, tmp_path / "run")


@pytest.mark.parametrize(
    ("temporal_rep", "sizes", "said"),
    [
        ("concat", dict(frames=1, sequence=FRAMES), {}),
        ("concat", dict(frames=1, sequence=FRAMES, rows=1), {}),
        ("avg", dict(frames=1), dict(temporal_rep="avg", frames=FRAMES)),
    ],
    ids=["concat", "concat, and a position of the class token", "avg"],
)
def test_embeddings_of_frames_in_a_row_and_of_their_mean_equal_too(
    temporal_rep, sizes, said, weights, dataset, tmp_path
):
    files, tensors = weights
    tensors = tensors | {"encoder": random_sim(**sizes)}
    path, table = _shuffled_table(tmp_path / "table.csv")
    files = Files(save(tensors["encoder"], tmp_path / "encoder.pt"), files.wrappers, path, **said)
    _must_equal_published(files, tensors, table, dataset, tmp_path / "run", temporal_rep)


def _vsmae():
    """As `encoder-decoder-best.pt`: no class token, a token for each patch and frame, and a decoder."""
    sit = random_sit(frames=1, sequence=FRAMES)
    del sit["cls_token"]
    decoder = {"mask_token": torch.randn(4), "decoder_pos_emb": torch.randn(1, 240, 4)}
    decoder |= affine("enc_to_dec", 4, DIM) | transformer("decoder", 1, 4, 4) | affine("decoder_norm", 4)
    decoder |= {f"norm.{end}": sit[f"mlp_head.0.{end}"] for end in ("weight", "bias")}
    return {f"encoder.{key}": value for key, value in sit.items()} | decoder | affine("to_pixels", 561, 4)


def test_a_vsmae_is_what_the_published_sim_makes_of_it_with_a_class_token_of_0(weights, dataset, tmp_path):
    files, tensors = weights
    path, table = _shuffled_table(tmp_path / "table.csv")
    state = _vsmae()
    files = Files(save(state, tmp_path / "encoder-decoder-best.pt"), files.wrappers, path)
    of_encoder = {key: value for key, value in state.items() if key.startswith("encoder.")}
    tensors = tensors | {"encoder": {"cls_token": torch.zeros(1, 1, DIM)} | of_encoder}
    _must_equal_published(files, tensors, table, dataset, tmp_path / "run", "concat")
    assert json.loads((tmp_path / "run" / "imported.json").read_text())["class_token"] == "0"


def test_a_vsmae_alone_starts_a_fit_by_the_printed_command(store, tmp_path):
    bare = {
        key.removeprefix("encoder."): value for key, value in _vsmae().items() if key.startswith("encoder.")
    }
    file, alone = save(bare, tmp_path / "encoder-best.pt"), tmp_path / "alone"
    result = _invoke("import-weights", store, "--out", alone, "--fmri-encoder", file)
    assert result.exit_code == 0, result.output
    command = result.output.split("start from its encoder with: simtrain ")[1].split()
    command = [str(tmp_path / "fit") if word == "RUN" else word for word in command]
    short = [
        word
        for one in ("steps=1", "batch_size=4", "validation_samples=4")
        for word in ("--set", f"train.{one}")
    ]
    result = _invoke(*command, *short, "--set", "model.freeze=all", "--device", "cpu")
    assert result.exit_code == 0, result.output
    kept = torch.load(tmp_path / "fit" / "checkpoint.pt")["learner"]
    torch.testing.assert_close(kept["sim.encoder.embed.weight"], bare["to_patch_embedding.1.weight"])
    assert FitRun.open(tmp_path / "fit").config.model.frame_positions == "sequence"


def test_without_a_table_the_geometrys_order_counts_and_this_is_said(weights, dataset, tmp_path):
    files, tensors = weights
    _must_equal_published(files, tensors, patch_vertices(1), dataset, tmp_path / "run")
    notes = import_weights(dataset, tmp_path / "again", files).notes
    assert "outputs will not equal the published ones" in notes[0]


@pytest.mark.templates
@pytest.mark.parametrize("ico", [1, 3])
def test_embeddings_equal_with_the_published_tables(ico, seed_files, weights, dataset, tmp_path):
    files, tensors = weights
    path = seed_files / f"triangle_indices_ico_6_sub_ico_{ico}.csv"
    table = np.array(list(csv.reader(path.open()))[1:], dtype=int).T
    tensors = tensors | {"encoder": random_sim(ico=ico)}
    files = Files(save(tensors["encoder"], tmp_path / "encoder.pt"), files.wrappers, path)
    _must_equal_published(files, tensors, table, dataset, tmp_path / "run")


def _built(published, heads):
    sizes = dict(patches=published.tokens, patch_size=published.patch_size)
    sizes |= dict(dim=published.dim, depth=published.depth, heads=heads, dim_head=published.inner // heads)
    model = SiT(**sizes, final_norms=published.final_norms, layout="stored")
    model.load_state_dict(published.weights | {"order": model.order})
    return model.eval()


@pytest.mark.parametrize("rows", [0, 1])
def test_bare_and_masked_autoencoders_equal(rows, tmp_path):
    sit = random_sit(PLAIN, rows=rows)
    x = torch.randn(2, FRAMES, *patch_vertices(1).shape)
    expected = tokens(sit, sit["cls_token"], x, HEADS)
    decoder = {"mask_token": torch.randn(4), "decoder_pos_emb": torch.randn(1, 80, 4)}
    decoder |= affine("decoder.layers.0.0.norm", 4) | affine("norm", DIM) | affine("to_pixels", 9, 4)
    mae = {f"encoder.{key}": value for key, value in sit.items()} | decoder
    parallel = {f"module.{key}": value for key, value in sit.items()}
    for number, state in enumerate([sit, mae, parallel]):
        published = read_encoder(save(state, tmp_path / f"{number}.pt"))
        with torch.no_grad():
            ours = _built(published, HEADS).tokens(x.permute(0, 2, 3, 1).flatten(2))
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert published.unused == ["mlp_head.1.weight", "mlp_head.1.bias"]


def test_the_audio_configuration_equals(tmp_path):
    """ico 4, frames one after another. Narrow, of one block and two frames, so that it is fast."""
    sit = random_sit(ico=4, frames=1, sequence=2, dim=8, inner=8)
    sit = {key: value for key, value in sit.items() if ".layers.1." not in key}
    published = read_encoder(save(sit, tmp_path / "encoder.pt"))
    found = tokenisation(published.tokens, published.patch_size, None, None, tmp_path)
    sizes = {"model.dim": 8, "model.depth": 1, "model.heads": 1, "model.dim_head": 8}
    own = {"model.layout": "stored", "model.patch_embedding": "linear", "model.positions": "sincos"}
    asked = {**found.settings, **sizes, **own}
    config = load("sim-tiny", [f"{key}={value}" for key, value in asked.items()])
    encoder = surface_encoder(config.model, patch_vertices(4).shape, config.data.frames)
    encoder.load_state_dict(published.weights | {"order": encoder.order})
    x = torch.randn(1, 2, *patch_vertices(4).shape, dtype=torch.float64)
    sit, encoder = {key: value.double() for key, value in sit.items()}, encoder.double()
    with torch.no_grad():
        ours = encoder.tokens(x.permute(0, 2, 3, 1).flatten(2))
        expected = tokens(sit, sit["cls_token"], mixed(x, "concat"), heads=1)
    torch.testing.assert_close(ours, expected)


def test_a_single_head_as_wide_as_the_tokens_has_no_output_layer(tmp_path):
    sit = {key: value for key, value in random_sit(dim=64, inner=64).items() if "to_out" not in key}
    x = torch.randn(2, FRAMES, *patch_vertices(1).shape)
    with torch.no_grad():
        model = _built(read_encoder(save(sit, tmp_path / "one.pt")), 1)
        ours = model.tokens(x.permute(0, 2, 3, 1).flatten(2))
    torch.testing.assert_close(ours, tokens(sit, sit["cls_token"], x, heads=1), atol=1e-5, rtol=0)


def test_without_a_class_token_it_is_0(tmp_path):
    sit = random_sit()
    del sit["cls_token"]
    published = read_encoder(save(sit, tmp_path / "none.pt"))
    assert not published.own_token
    assert not published.weights["class_token"].any()


QKV = "encoder.transformer.layers.1.0.fn.to_qkv.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({QKV: None}, f"missing: {QKV}"),
        ({"encoder.pos_embedding": None}, "missing: encoder.pos_embedding"),
        ({"cls_token": None}, "missing: cls_token"),
        ({"cls_token": torch.zeros(1, 1, 5)}, r"another shape: cls_token; \(1, 1, 5\), not \(1, 1, 16\)"),
        ({QKV: torch.zeros(9, DIM)}, rf"another shape: {QKV}; \(9, 16\), not \(384, 16\)"),
        ({"encoder.proj_confound.1.weight": torch.zeros(1)}, "unexpected: encoder.proj_confound.1.weight"),
        ({"head": torch.zeros(1)}, "unexpected: head"),
        ({"encoder.pos_embedding": torch.zeros(1, 250, DIM)}, "250 rows.*are multiples of 80"),
        ({"encoder.to_patch_embedding.1.weight": torch.zeros(DIM)}, "not of 2 axes"),
        ({"encoder.epoch": "one"}, "unexpected: encoder.epoch"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(change, words, tmp_path):
    state = {key: value for key, value in (random_sim() | change).items() if value is not None}
    with pytest.raises(UserError, match=words):
        read_encoder(save(state, tmp_path / "odd.pt"))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_state(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_state(tmp_path / "text.pt")
    with pytest.raises(UserError, match="no tensors by name"):
        read_state(save({"a": 1}, tmp_path / "numbers.pt"))


def test_parts_that_do_not_fit_together_are_refused(weights, dataset, tmp_path):
    files, _ = weights
    with pytest.raises(UserError, match="projectors come together"):
        Files(files.encoder, {"fmri": files.wrappers["fmri"]})
    odd = {"video": save(random_wrapper(10, common=9), tmp_path / "nine.pt")}
    with pytest.raises(UserError, match=r"into 9 dimensions, .* into 12"):
        import_weights(dataset, tmp_path / "run", Files(files.encoder, files.wrappers | odd))
    odd = {"video": save(random_wrapper(768), tmp_path / "features.pt")}
    with pytest.raises(UserError, match="takes 768 features, but video_shapes of the store has 10"):
        import_weights(dataset, tmp_path / "run", Files(files.encoder, files.wrappers | odd))
    with pytest.raises(UserError, match=r"model\.depth: the weights ask for 2"):
        import_weights(dataset, tmp_path / "run", files, ["model.depth=3"])
    with pytest.raises(UserError, match="128 dimensions, not a multiple of 3 heads"):
        import_weights(dataset, tmp_path / "run", files, heads=3)
    assert not (tmp_path / "run").exists()


def test_tables_that_are_not_the_patches_are_refused(tmp_path):
    path, table = _shuffled_table(tmp_path / "table.csv")
    np.testing.assert_array_equal(read_patches(path, 1), table)
    with pytest.raises(UserError, match="80 patches of 561 vertices; icosphere 2 has 320 of 153"):
        read_patches(path, 2)
    lines = path.read_text().splitlines()
    for changed, words in [
        ([lines[0], lines[2], *lines[2:]], "not the faces of icosphere 1"),
        (lines[1:], "first line must number"),
        ([*lines[:-1], "x" + lines[-1]], "no table of patches"),
    ]:
        path.write_text("\n".join(changed))
        with pytest.raises(UserError, match=words):
            read_patches(path, 1)


def _invoke(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)


def test_weights_of_one_frame_are_imported_when_it_is_said_what_they_were_given(weights, store, tmp_path):
    encoder = save(random_sim(frames=1), tmp_path / "encoder.pt")
    given = ("import-weights", store, "--out", tmp_path / "run", "--fmri-encoder", encoder)
    with pytest.raises(UserError, match="give --frames"):
        _invoke(*given)
    result = _invoke(*given, "--temporal-rep", "avg", "--frames", 3)
    assert result.exit_code == 0, result.output
    config = FitRun.open(tmp_path / "run").config
    assert (config.data.frames, config.model.temporal, config.model.ico) == (3, "mean_frame", 1)


def test_an_imported_run_is_tested_and_records_its_files(weights, store, tmp_path):
    files, _ = weights
    wrappers = [f for name, path in files.wrappers.items() for f in (f"--{name}-wrapper", path)]
    out = tmp_path / "run"
    result = _invoke("import-weights", store, "--out", out, "--fmri-encoder", files.encoder, *wrappers)
    assert result.exit_code == 0, result.output
    assert f"simtrain retrieve {out} {store}" in result.output
    assert (FitRun.open(out).config.model.heads, FitRun.open(out).config.data.lag) == (HEADS, 6)
    record = json.loads((out / "imported.json").read_text())
    digest = hashlib.sha256(files.encoder.read_bytes()).hexdigest()
    assert record["files"]["fmri-encoder"] == {"name": "fmri-encoder-best.pt", "sha256": digest}
    assert record["unused"][0] == "encoder.cls_token"
    options = ["--experiment", "new-subjects", "--draws", 2, "--clips", 10, "--device", "cpu"]
    result = _invoke("retrieve", out, store, *options)
    assert result.exit_code == 0, result.output
    with pytest.raises(UserError, match="holds a run already"):
        import_weights(open_dataset(store), out, files)


def test_an_encoder_alone_can_only_start_a_fit(weights, store, tmp_path):
    files, _ = weights
    alone = tmp_path / "alone"
    table, _ = _shuffled_table(tmp_path / "table.csv")
    short = [f"train.{key}" for key in ("steps=1", "batch_size=4", "validation_samples=4")]
    short = [word for setting in short for word in ("--set", setting)]
    given = ["--fmri-encoder", files.encoder, "--patches", table, *short]
    result = _invoke("import-weights", store, "--out", alone, *given)
    assert result.exit_code == 0, result.output
    assert (alone / "patches.csv").read_bytes() == table.read_bytes()
    with pytest.raises(UserError, match="imported encoder without projectors"):
        _invoke("retrieve", alone, store)
    command = result.output.split("start from its encoder with: ")[1].split()[1:]
    assert {"data.normalise=vertex-demean", "data.test_normalise=vertex-demean+frame-zscore"} < set(command)
    command = [str(tmp_path / "fit") if word == "RUN" else word for word in command]
    result = _invoke(*command, *short, "--set", "model.freeze=all", "--device", "cpu")
    assert result.exit_code == 0, result.output
    before, after = (torch.load(path / "checkpoint.pt")["learner"] for path in (alone, tmp_path / "fit"))
    for key in (key for key in before if key.startswith("sim.encoder.")):
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=0)
    result = _invoke("fit", store, "--out", alone, "--device", "cpu")
    assert "going on from step 0 of 1" in result.output
    load_learner(FitRun.open(alone), open_dataset(store), torch.device("cpu"))


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("audio", "fc.weight", np.nan, r"audio-wrapper.*refine\.1\.weight is not finite"),
        ("encoder", "encoder.pos_embedding", np.inf, r"encoder\.pt: positions is not finite"),
        ("encoder", "encoder.to_patch_embedding.1.weight", 1e38, "not finite, or too large"),
        ("encoder", "encoder.mlp_head.0.weight", 0.0, "have the same fmri embedding"),
        ("video", "projection.weight", 0.0, "have the same video embedding"),
        ("fmri", "layer_norm", 0.0, "fmri embeddings of .* have no direction"),
    ],
)
def test_weights_of_nothing_are_not_imported(part, name, value, said, weights, dataset, tmp_path):
    files, tensors = weights
    broken = {
        key: torch.full_like(tensor, value) if name in key else tensor
        for key, tensor in tensors[part].items()
    }
    if np.isnan(value):
        broken[name] = tensors[part][name].clone()
        broken[name][3, 2] = value
    file = save(broken, tmp_path / f"{'audio-wrapper' if part == 'audio' else part}.pt")
    if part == "encoder":
        files = Files(file, files.wrappers)
    else:
        files = Files(files.encoder, {**files.wrappers, part: file})
    with pytest.raises(UserError, match=said):
        import_weights(dataset, tmp_path / "run", files)
    assert not (tmp_path / "run").exists()


def test_an_encoder_of_nothing_is_not_imported_alone(weights, dataset, tmp_path):
    _, tensors = weights
    broken = {key: tensor * ("to_patch_embedding" not in key) for key, tensor in tensors["encoder"].items()}
    with pytest.raises(UserError, match="have the same fmri embedding"):
        import_weights(dataset, tmp_path / "run", Files(save(broken, tmp_path / "encoder.pt"), {}))


def test_it_has_the_input_that_weights_were_trained_on_or_says_that_it_has_not(weights, dataset, tmp_path):
    files, _ = weights
    run = import_weights(dataset, tmp_path / "run", files)
    data = run.config.data
    assert (data.normalise, data.test_normalise) == ("vertex-demean", "vertex-demean+frame-zscore")
    assert data.features == "raw"
    assert not any("data." in note for note in run.notes)
    other = ["data.normalise=vertex-zscore", "data.features=standardised"]
    notes = import_weights(dataset, tmp_path / "other", files, other).notes
    assert "data.normalise is vertex-zscore, where the weights were trained" in notes[0]
    assert "data.features is standardised" in notes[1]


def test_a_run_that_was_imported_before_is_tested_as_it_was(weights, dataset, tmp_path):
    """Its configuration has none of the keys, and its checkpoint has the features' statistics."""
    files, _ = weights
    run = import_weights(dataset, tmp_path / "run", files)
    state = torch.load(run.checkpoint)
    buffers = [name for name in state["learner"] if name.startswith("stimuli.")]
    for name in buffers:
        state["learner"][name] = torch.full_like(state["learner"][name], 3.0)
    torch.save(state, run.checkpoint)
    written = yaml.safe_load((run.path / "config.yaml").read_text())
    for key in ("normalise", "test_normalise", "features", "moments"):
        del written["data"][key]
    (run.path / "config.yaml").write_text(yaml.safe_dump(written))
    learner = load_learner(FitRun.open(run.path), dataset, torch.device("cpu"))
    samples, stored = _windows(dataset)
    side = torch.from_numpy(samples["hemisphere"].astype(int))
    expected = learner.frames.zscore(stored, side)[:, :, patch_vertices(1)].permute(0, 2, 3, 1).flatten(2)
    torch.testing.assert_close(learner.patches(samples, stored), expected)
    raw = torch.from_numpy(dataset.embedding("video_shapes").values[samples["movie"], samples["clip"]])
    features = learner.clip_features(samples["movie"], samples["clip"])["video"]
    torch.testing.assert_close(features, (raw - 3) / 3)


def test_weights_count_as_trained_on_the_splits_that_are_given_in_later_trainings_too(
    weights, store, tmp_path
):
    files, _ = weights
    lists = {"subjects": {"train": ["s1", "s2", "s8"], "val": ["s3"], "test": ["s5"]}, "scenes": {}}
    run = import_weights(open_dataset(store), tmp_path / "run", files, splits=lists)
    assert any("trained on the 4 subjects listed in given" in note for note in run.notes)
    assert run.seen_subjects == {"s1", "s2", "s3", "s8"}, "also who is not in the store"
    few = {"experiment": "new-subjects", "clips": 10, "draws": 2, "device": "cpu", "save": False}
    found = simtrain.retrieve(run.path, store, **few)
    assert set(found.tables["windows"].subject) == {"s5"}
    with pytest.raises(UserError, match=r"new-subjects: .*was trained or validated on s1, s3$"):
        simtrain.retrieve(run.path, store, splits={"subjects": {"test": ["s1", "s3", "s6"]}}, **few)
    with pytest.raises(UserError, match=r"new-scenes: .*may not be new"):
        simtrain.retrieve(run.path, store, splits="halves", **few | {"experiment": "new-scenes"})
    config = run.config.model_dump(mode="json")
    overrides = {"model.init": str(run.path), "train.steps": 1, "train.batch_size": 8}
    overrides |= {"train.validation_samples": 8}
    later = simtrain.fit(store, tmp_path / "later", config, overrides=overrides, device="cpu", progress=False)
    assert FitRun.open(later.path).seen_subjects == {"s1", "s2", "s3", "s4", "s8"}


def _as_the_published_data(store, path):
    """The small store with six of the release's ids, of which split1 has two and two."""
    shutil.copytree(store, path, ignore=shutil.ignore_patterns("bold"))
    (path / "bold").symlink_to(store / "bold", target_is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        ids = ["100610", "102311", "562345", "572045", "999001", "999002"]
        group["subject"][:] = np.array(ids, object)
        attributes = group["simdata_metadata"].attrs
        catalog = yaml.safe_load(attributes["catalog"]) | {"subject_pattern": "[0-9]{6}", "splits": {}}
        attributes.update(catalog=yaml.safe_dump(catalog), catalog_name="hcp7t-movie")
        zarr.consolidate_metadata(path)
    return path


def test_in_a_store_of_the_published_data_weights_were_trained_on_its_subjects(weights, store, tmp_path):
    files, _ = weights
    ours = open_dataset(_as_the_published_data(store, tmp_path / "hcp.zarr"))
    run = import_weights(ours, tmp_path / "run", files)
    assert any("the 127 subjects listed in published-code" in note for note in run.notes)
    assert any("picked its checkpoint by the 53 subjects" in note for note in run.notes)
    assert len(run.seen_subjects) == 127
    sets = run.stores[0].record["subjects"].values()
    assert list(sets) == [
        "train",
        "train",
        "test",
        "test",
        "none",
        "none",
    ]
    few = {"experiment": "new-subjects", "clips": 10, "draws": 2, "device": "cpu", "save": False}
    assert set(simtrain.retrieve(run.path, ours, **few).tables["windows"].subject) == {"562345", "572045"}
    with pytest.raises(UserError, match=r"was trained or validated on 100610, 102311$"):
        simtrain.retrieve(run.path, ours, splits={"subjects": {"test": ["100610", "102311"]}}, **few)
