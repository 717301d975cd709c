"""simtrain.batches: what training sees, for a loop of one's own."""

import pytest
import torch
from examples import must_run
from training_runs import TINY, fit_run

import simtrain
from simdata.common.errors import UserError
from simtrain.data.experiments import EXPERIMENTS
from simtrain.training.step import Training

FIELDS = ("subject", "movie", "second", "clip", "hemisphere")
SMALL = {"batch_size": 16, "ico": 1}


def _assert_same(one, other):
    assert torch.equal(one.fmri, other.fmri)
    assert one.stimuli.keys() == other.stimuli.keys()
    assert all(torch.equal(values, other.stimuli[name]) for name, values in one.stimuli.items())
    assert all((getattr(one, name) == getattr(other, name)).all() for name in FIELDS)


def test_examples(store):
    must_run(simtrain.batches, store=store)
    must_run(simtrain.open_dataset, store=store)


def test_they_are_bit_for_bit_what_a_step_sees(store, tmp_path, monkeypatch):
    seen, update = [], Training.update

    def watched(self, batch):
        learner, samples = self.learner, batch.samples
        stimuli = learner.clip_features(samples["movie"], samples["clip"])
        seen.append((samples.copy(), learner.patches(samples, batch.stored).clone(), stimuli))
        return update(self, batch)

    monkeypatch.setattr(Training, "update", watched)
    steps = ["train.steps=70", "train.validate_every=70", "train.checkpoint_every=70", "data.lag_jitter=1"]
    run, _ = fit_run(store, tmp_path / "run", *TINY, *steps)
    endless = simtrain.batches(store, config=run.config, epochs=None)
    assert len(seen) == 70 > len(endless.samples) // 8  # into the second epoch
    for (samples, fmri, stimuli), batch in zip(seen, endless, strict=False):
        assert torch.equal(fmri, batch.fmri)
        assert batch.fmri.dtype == torch.float32
        assert all(torch.equal(values, batch.stimuli[name]) for name, values in stimuli.items())
        assert all((samples[name] == getattr(batch, name)).all() for name in FIELDS)


def test_all_feeds_give_the_same_and_each_pass_begins_anew(store):
    passes = [simtrain.batches(store, feed=feed, **SMALL) for feed in ("device", "memory", "stream")]
    first = list(passes[0])
    assert len(first) == len(passes[0])
    for other in (*passes, passes[0]):
        for one, two in zip(first, other, strict=True):
            _assert_same(one, two)


def test_epochs_have_orders_of_their_own(store):
    found = list(simtrain.batches(store, epochs=2, **SMALL))
    half = len(found) // 2
    assert not (found[0].second == found[half].second).all()


def test_in_order_nothing_is_left_out(store):
    found = simtrain.batches(store, "val", shuffle=False, **SMALL)
    batches = list(found)
    assert len(batches) == len(found)
    assert sum(map(len, batches)) == len(found.samples)
    assert {found.dataset.subjects[place] for batch in batches for place in batch.subject} == {"s4"}


def test_the_test_set_is_its_experiments(store):
    count = {name: len(simtrain.batches(store, name, shuffle=False, **SMALL).samples) for name in EXPERIMENTS}
    assert min(count.values()) > 0
    assert len(simtrain.batches(store, "test", **SMALL).samples) == sum(count.values())


def test_what_is_asked_for_decides_shapes(store):
    asked = {"frames": 2, "modalities": ("fmri", "video"), "hemispheres": "R", "lag": 5}
    found = simtrain.batches(store, **asked, **SMALL)
    batch = next(iter(found))
    assert batch.fmri.shape == (16, 80, 2 * 561)
    assert list(batch.stimuli) == ["video"]
    assert (batch.hemisphere == 1).all()
    assert (batch.second - batch.clip == 5).all()


def test_what_is_wrong_is_named(store):
    for wrong, message in (
        ({"split": "dev"}, "split: 'dev' is not one of train"),
        ({"hemispheres": "X"}, "hemispheres: 'X' is not one of"),
        ({"feed": "tape"}, "feed: 'tape' is not one of"),
        ({"epochs": 0}, "epochs: 0 is less than 1"),
        ({"batch_size": 10**6}, "less than a batch"),
        ({"frames": 101}, "data.frames"),
    ):
        with pytest.raises(UserError, match=message):
            simtrain.batches(store, **wrong)
    with pytest.raises(TypeError, match="endless"):
        len(simtrain.batches(store, epochs=None, **SMALL))
