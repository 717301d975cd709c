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
        "split": "val",
        "gap": 9,
        "subjects": ("s5",),
        "movies": ("M1",),
        "joint": {"video": 2, "audio": 1},
    }
    assert {*other, "lag", "seed"} == set(Protocol(lag=6).settings)
    for setting in other.keys() - {"split"}:  # which is told beside the name
        value = other[setting]
        of_draws = {"draws": 3} if setting in ("clips", "clips_of") else {}
        assert name_of(replace(Protocol(lag=6), **of_draws, **{setting: value})).startswith("ours, but ")


@pytest.mark.parametrize("given", [{"clips": 40}, {"clips_of": "run"}])
def test_what_says_how_to_draw_is_refused_if_nothing_is_drawn(given):
    (name,) = given
    with pytest.raises(UserError, match=f"`{name}` .*: every window is tested, and none drawn"):
        named("ours", 6, **given)
    with pytest.raises(UserError, match="`clips` 100: every window is tested"):
        named("published-code", 6, draws="exact")
    assert named("ours", 6, **given, draws=3).draws == 3
    assert (named("ours", 6).clips, named("ours", 6, draws=3).clips) == (None, 100)
    with pytest.raises(UserError, match="draws: 'some' is neither a number of draws nor 'exact'"):
        named("ours", 6, draws="some")


def test_there_is_no_other():
    with pytest.raises(
        UserError, match="protocol: 'theirs' is not one of ours, published-code, published-paper"
    ):
        named("theirs", 6)
