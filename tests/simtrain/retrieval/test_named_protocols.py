"""Protocols by name."""

from dataclasses import replace

import pytest

from simdata.common.errors import UserError
from simtrain.retrieval.named_protocols import NAMED, name_of, named, title_of
from simtrain.retrieval.protocol import Protocol


def test_ours_is_what_a_protocol_is_by_default():
    assert named("ours", 6) == Protocol(lag=6)


@pytest.mark.parametrize("name", NAMED)
def test_a_protocol_goes_by_its_name_whatever_its_lag_and_seed(name):
    assert name_of(named(name, 5, seed=3, metrics=("mrr",))) == name


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("ours", {"pool": 64}, "ours, but pool 64"),
        ("ours", {"pool": 64, "average_subjects": True}, "ours, but pool 64 and average subjects"),
        ("ours", {"subjects": ("s5", "s6"), "movies": ("M1",)}, "ours, but subjects s5 s6 and movies M1"),
        ("published-code", {"pool": None, "gap": {"audio": 1, "video": 4}}, "published-code"),
        (
            "published-paper",
            {"pool": 16, "negatives": "other-clips", "clips": 10},
            "published-paper, but pool 16, clips 10 and negatives other-clips",
        ),
    ],
)
def test_what_is_given_counts_before_it_and_is_told(name, given, told):
    protocol = named(name, 6, **given)
    assert all(value is None or getattr(protocol, key) == value for key, value in given.items())
    assert name_of(protocol) == told
    assert title_of(protocol) == f"Retrieval ({told}): {protocol}"


def test_no_part_of_a_protocol_stands_in_no_name():
    """All that decides ranks makes another protocol, but for what is a run's own."""
    other = {
        "pool": 4,
        "clips": 7,
        "clips_of": "run",
        "draws": 3,
        "negatives": "nearest",
        "shuffle": True,
        "average_subjects": True,
        "average_windows": 2,
        "hemispheres": "L",
        "gap": 9,
        "subjects": ("s5",),
        "movies": ("M1",),
    }
    assert {*other, "lag", "seed"} == set(Protocol(lag=6).settings)
    for setting, value in other.items():
        assert name_of(replace(Protocol(lag=6), **{setting: value})).startswith("ours, but ")


def test_there_is_no_other():
    with pytest.raises(
        UserError, match="protocol: 'theirs' is not one of ours, published-code, published-paper"
    ):
        named("theirs", 6)
