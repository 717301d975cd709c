"""What is drawn by sample: beside SplitMix64 in Python's own integers, and its published numbers."""

import numpy as np
import pytest
import torch

from simtrain.data.windows import SAMPLE
from simtrain.models.draws import SampleDraws, numbers

CPU = torch.device("cpu")
FULL = 2**64 - 1


def splitmix64(state, count):
    for _ in range(count):
        state = state + 0x9E3779B97F4A7C15 & FULL
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & FULL
        z = (z ^ z >> 27) * 0x94D049BB133111EB & FULL
        yield z ^ z >> 31


def samples(count):
    rng = np.random.default_rng(0)
    found = np.zeros(count, SAMPLE)
    found["subject"], found["movie"] = rng.integers(0, 50, count), rng.integers(0, 4, count)
    found["second"], found["hemisphere"] = rng.permutation(count), rng.integers(0, 2, count)
    return found


@pytest.mark.parametrize("state", [0, 1, 1234567, -1, 2**62 + 12345])
def test_bits_are_those_of_splitmix64(state):
    found = numbers(torch.tensor([state]), 100)[0].tolist()
    assert [bits & FULL for bits in found] == list(splitmix64(state & FULL, 100))


def test_the_first_numbers_are_those_that_are_published_for_a_seed():
    found = numbers(torch.tensor([1234567]), 5)[0].tolist()
    assert [bits & FULL for bits in found] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_a_sample_draws_the_same_in_any_company_and_other_things_draw_others():
    drawn, many = SampleDraws(3, 7), samples(40)
    whole = drawn.uniform(many, "drop path", 5, CPU)
    assert torch.equal(drawn.uniform(many[[30, 2]], "drop path", 5, CPU), whole[[30, 2]])
    assert torch.equal(drawn.uniform(many, "drop path", 3, CPU), whole[:, :3])
    for other in (SampleDraws(3, 8), SampleDraws(4, 7)):
        assert not (other.uniform(many, "drop path", 5, CPU) == whole).any()
    assert not (drawn.uniform(many, "modality", 5, CPU) == whole).any()
    assert len(whole.unique()) == whole.numel()


def test_numbers_are_uniform_and_samples_and_steps_independent():
    many = samples(1000)
    drawn = torch.stack([SampleDraws(0, step).uniform(many, "a", 40, CPU) for step in range(3)]).double()
    assert 0 <= drawn.min() < 1e-4
    assert 1 - 1e-4 < drawn.max() < 1
    shares = torch.histc(drawn, bins=10, min=0, max=1) / drawn.numel()
    torch.testing.assert_close(shares, torch.full_like(shares, 0.1), atol=0.005, rtol=0)
    steps = np.corrcoef(drawn.flatten(1).numpy())
    assert np.abs(steps - np.eye(3)).max() < 0.02
    neighbours = np.corrcoef(drawn[:, :-1].flatten().numpy(), drawn[:, 1:].flatten().numpy())
    assert abs(neighbours[0, 1]) < 0.02
