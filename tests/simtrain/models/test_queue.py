"""Negatives of earlier batches, against plain cross entropy over all candidates."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch.nn.functional import cross_entropy, normalize
from training_runs import TINY, assert_equal, lines_of

import simtrain
from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import SAMPLE
from simtrain.models.losses import FixedInfoNCE, InfoNCE
from simtrain.models.queue import Queue
from simtrain.training import checkpoint
from simtrain.training import loop as fitting
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training
from simtrain.training.trained_model import load_learner

MODALITIES, CPU = ("fmri", "video", "audio"), torch.device("cpu")


def _samples(moments):
    samples = np.zeros(len(moments), SAMPLE)
    for field, values in zip(("movie", "second", "clip"), np.array(moments).T, strict=True):
        samples[field] = values
    return samples


def _embeddings(count, seed, dim=5):
    rng = torch.Generator().manual_seed(seed)
    return {
        name: normalize(torch.randn(count, dim, generator=rng), dim=1).requires_grad_() for name in MODALITIES
    }


moments = st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(0, 20))
batches = st.lists(st.lists(moments, min_size=1, max_size=7), max_size=5)


@given(batches, st.integers(1, 10), st.integers(1, 5), st.lists(moments, min_size=1, max_size=6))
def test_the_queue_holds_the_last_samples_and_knows_which_overlap(pushed, size, window, now):
    queue, everything, vectors = Queue(size, MODALITIES, 5, window, np.arange(9)), [], []
    for number, batch in enumerate(pushed):
        embeddings = _embeddings(len(batch), number)
        queue.add(embeddings, _samples(batch))
        everything += batch
        vectors += list(embeddings["audio"].detach())
    found = queue(_samples(now))
    assert not any(values.requires_grad for values in found.embeddings.values())
    kept = {
        (*moment, *vector.tolist())
        for moment, vector in zip(everything[-size:], vectors[-size:], strict=True)
    }
    held = queue.moments[:, 0] >= 0
    assert held.sum() == min(size, len(everything))
    assert kept == {
        (*moment, *vector)
        for moment, vector in zip(
            queue.moments[held].tolist(), found.embeddings["audio"][held].tolist(), strict=True
        )
    }
    for i, (movie, second, clip) in enumerate(now):
        for j, (other, begin, start) in enumerate(queue.moments.tolist()):
            shared = set(range(second, second + window)) & set(range(begin, begin + window)) or (
                set(range(clip, clip + window)) & set(range(start, start + window))
            )
            assert found.ignore[i, j] == (other == -1 or (other == movie and bool(shared)))


@pytest.mark.parametrize("learned", [True, False])
def test_the_loss_is_the_cross_entropy_over_all_candidates(learned):
    """Candidate by candidate: the batch's own, and of the queue what shares no moment."""
    now, before = _embeddings(4, 0), _embeddings(6, 1)
    samples = _samples([(0, 5, 1), (0, 30, 26), (1, 5, 1), (1, 40, 34)])
    past = _samples([(0, 6, 12), (0, 50, 27), (2, 5, 1), (1, 5, 1), (1, 60, 54), (0, 90, 84)])
    queue = Queue(9, MODALITIES, 5, 3, np.arange(9))  # three places stay empty
    queue.add(before, past)
    ignore = torch.zeros(4, 4, dtype=torch.bool)
    weights = {("fmri", "video"): 0.7, ("video", "audio"): 0.3}
    loss = (InfoNCE if learned else FixedInfoNCE)(weights, 0.2)
    found, parts = loss(now, ignore, queue(samples))
    negatives = {0: [1, 2, 3, 4, 5], 1: [0, 2, 3, 4, 5], 2: [0, 1, 2, 4, 5], 3: [0, 1, 2, 3, 4, 5]}
    for one, other in weights:
        terms = []
        for query, key in ((one, other), (other, one)):
            for row in range(4):
                candidates = torch.cat([now[key], before[key][negatives[row]].detach()])
                logits = candidates @ now[query][row] / 0.2
                terms.append(cross_entropy(logits[None], torch.tensor([row])))
        torch.testing.assert_close(parts[f"{one}-{other}"], torch.stack(terms).mean())
    expected = torch.autograd.grad(
        0.7 * parts["fmri-video"] + 0.3 * parts["video-audio"], now["video"], retain_graph=True
    )
    found.backward()
    torch.testing.assert_close(now["video"].grad, expected[0])
    assert before["video"].grad is None
    if learned:
        assert loss.log_scale.grad.isfinite()


def test_a_queue_with_nothing_in_it_changes_nothing():
    now, ignore = _embeddings(4, 0), torch.zeros(4, 4, dtype=torch.bool)
    loss, queue = InfoNCE({("fmri", "video"): 1.0}, 0.1), Queue(6, MODALITIES, 5, 3, np.arange(9))
    queued = queue(_samples([(0, 10 * i, 10 * i) for i in range(4)]))
    torch.testing.assert_close(loss(now, ignore, queued)[0], loss(now, ignore)[0], rtol=1e-6, atol=0)


def fit_run(store, out, *overrides):
    dataset = open_dataset(store)
    config = resolve(load("demo", [*TINY, "loss.queue=20", *overrides]), dataset)
    run = FitRun.start(out, config, dataset)
    fitting.fit(dataset, run, CPU, Console(quiet=True))
    return run


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("queue") / "straight")


def test_a_crashed_run_goes_on_with_its_queue_bit_for_bit(store, tmp_path, straight, monkeypatch):
    update = Training.update

    def crashing(self, batch):
        if self.step == 7:
            raise MemoryError
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "update", crashing)
        with pytest.raises(MemoryError):
            fit_run(store, tmp_path / "run")
    run = fit_run(store, tmp_path / "run")
    state = checkpoint.load(run.checkpoint)
    assert_equal(state, checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)
    assert (state["learner"]["queue.moments"] >= 0).all()
    assert int(state["learner"]["queue.place"]) == 12 * 8 % 20
    learner = load_learner(run, open_dataset(store), CPU)  # as retrieval does
    assert torch.equal(learner.queue.fmri, checkpoint.load(run.tested)["learner"]["queue.fmri"])


def test_more_negatives_make_the_task_harder_and_parts_of_a_batch_do_not_matter(store, tmp_path, straight):
    off = ["model.dropout=0.0", "train.steps=4"]
    plain, queued, parts = (
        lines_of(fit_run(store, tmp_path / name, *off, *more))
        for name, more in {
            "plain": ["loss.queue=0"],
            "queued": [],
            "parts": ["train.accumulate=3"],
        }.items()
    )
    assert queued[0]["train/loss"] == pytest.approx(plain[0]["train/loss"], rel=1e-6)
    assert queued[2]["train/loss"] > plain[2]["train/loss"] + 0.3
    for line, expected in zip(parts, queued, strict=True):
        assert line == pytest.approx(expected, rel=1e-4)


def test_the_sigmoid_loss_has_no_queue():
    with pytest.raises(UserError, match="queue does not go with siglip"):
        simtrain.load_config("demo", overrides=["loss.kind=siglip", "loss.queue=8"])
