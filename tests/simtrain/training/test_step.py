"""One update and one validation, against the same worked out step by step."""

import numpy as np
import pytest
import torch

from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.data import windows
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Batch, Stream
from simtrain.data.order import Cursor, epoch_order
from simtrain.models.learner import Learner
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.step import mixed_precision
from simtrain.training.validation import Validation, choose

TINY = [
    "model.ico=1",
    "model.dim=8",
    "model.depth=1",
    "model.dim_head=8",
    "train.batch_size=8",
    "train.steps=10",
]
CPU = torch.device("cpu")
BIT = {"train.learning_rate": 1e-3, "train.weight_decay": 0.5, "train.validation_samples": 24}


@pytest.fixture(scope="module")
def reader(store):
    return BoldReader(store)


def _training(store, **settings):
    dataset = open_dataset(store)
    overrides = [f"{key}={value}" for key, value in (BIT | settings).items()]
    linear = "model.patch_embedding=linear"  # which needs no look at training windows
    config = resolve(load("demo", [*TINY, linear, *overrides]), dataset)
    embeddings = dataset.embeddings(config)
    clips = windows.clip_split(dataset, embeddings.values())
    torch.manual_seed(0)
    learner = Learner(config, dataset, embeddings)
    learner.stimuli.fit(clips)
    samples = windows.by_hemisphere(windows.validation(windows.find_windows(dataset, clips, 3, 6)))
    return ContrastiveTraining(config, learner), samples


def _batch(reader, samples):
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    return Batch(samples, torch.from_numpy(reader.read(index, 3)), Cursor(0, 1))


@pytest.mark.parametrize(("clip_norm", "decayed"), [(1e-6, "matrices"), (1e6, "matrices"), (None, "all")])
def test_an_update_is_a_clipped_adamw_that_decays_matrices_or_all(store, reader, clip_norm, decayed):
    training, samples = _training(
        store, **{"train.clip_norm": "null" if clip_norm is None else clip_norm, "train.decayed": decayed}
    )
    batch = _batch(reader, samples[::9][:8])
    parameters = dict(training.learner.named_parameters())
    gradients = torch.autograd.grad(training.losses(batch)[0], list(parameters.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    clip = 1.0 if clip_norm is None else min(1.0, clip_norm / float(norm))
    before = {name: values.detach().clone() for name, values in parameters.items()}
    training.update(batch)
    rate = 1e-3  # the whole of the warm-up is one step
    for name, gradient in gradients.items():
        shrunk = before[name] * (1 - rate * 0.5 * (gradient.ndim == 2 or decayed == "all"))
        # In its first step Adam's means are the gradient and its square.
        expected = shrunk - rate * clip * gradient / ((clip * gradient).abs() + 1e-8)
        torch.testing.assert_close(parameters[name].detach(), expected, rtol=1e-4, atol=1e-6)
    assert (training.step, training.cursor) == (1, Cursor(0, 1))


def test_adamw_has_the_betas_that_are_asked_for(store, reader):
    training, samples = _training(
        store, **{"train.beta1": 0.5, "train.beta2": 0.25, "train.clip_norm": "null"}
    )
    parameters, gradients = dict(training.learner.named_parameters()), {}
    for number in range(2):
        batch = _batch(reader, samples[number::9][:8])
        before = {name: values.detach().clone() for name, values in parameters.items()}
        training.update(batch)
        for name, values in parameters.items():
            if values.grad is not None:
                gradients.setdefault(name, []).append(values.grad.clone())
    rate = training.optimizer.param_groups[0]["lr"]
    for name, (first, second) in gradients.items():
        mean = (0.5 * 0.5 * first + 0.5 * second) / (1 - 0.5**2)
        square = (0.25 * 0.75 * first.square() + 0.75 * second.square()) / (1 - 0.25**2)
        shrunk = before[name] * (1 - rate * 0.5 * (first.ndim == 2))
        expected = shrunk - rate * mean / (square.sqrt() + 1e-8)
        torch.testing.assert_close(parameters[name].detach(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_takes_no_emulated_bfloat16(monkeypatch, native, expected):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation
    )
    assert mixed_precision("auto", torch.device("cuda")) is expected


def test_validation_is_the_mean_over_its_fixed_batches(store, reader):
    training, samples = _training(store)
    values = Validation(choose(samples, training.config), Stream(reader, 3, CPU), training)()
    chosen = samples[epoch_order(len(samples), 0, 0)[:24]]
    losses, hits = [], []
    for part in np.split(chosen, 3):
        batch = _batch(reader, part)
        with torch.no_grad():
            losses.append(float(training.losses(batch)[0]))
            embeddings = training.embed(batch)
        for i in range(8):
            rivals = [j for j in range(8) if i == j or not _overlap(part[i], part[j])]
            best = max(rivals, key=lambda j: float(embeddings["fmri"][i] @ embeddings["audio"][j]))
            hits.append((best == i, 1 / len(rivals)))
    assert values["val/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert values["val/top1-audio"] == pytest.approx(np.mean(hits, axis=0)[0])
    assert values["val/chance"] == pytest.approx(np.mean(hits, axis=0)[1])


def _overlap(one, other):
    return one["movie"] == other["movie"] and abs(int(one["second"]) - int(other["second"])) < 3
