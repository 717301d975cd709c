"""The catalog's key `clean`."""

import pytest
from pydantic import ValidationError

from simdata.release.clean_rule import Clean


def test_a_whole_one_is_read():
    rule = Clean.model_validate(
        {"polynomials": 2, "high_pass": 0.01, "confounds": ["motion12", "acompcor6"], "scrub": {"fd": 0.5}}
    )
    assert rule.needs_table
    assert not rule.does_nothing


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"polynomials": -1}, "greater than or equal to 0"),
        ({"polynomials": 11}, "less than or equal to 10"),
        ({"polynomials": True}, "valid integer"),
        ({"high_pass": 100}, "less than or equal to 0.1"),
        ({"high_pass": "fast"}, "valid number"),
        ({"high_pass": float("nan")}, "finite number"),
        ({"confounds": ["motion7"]}, "'motion7' is none of motion6, motion12, motion24, csf"),
        ({"confounds": ["acompcor0"]}, "is none of"),
        ({"confounds": ["motion6", "motion12"]}, "several of motion"),
        ({"confounds": ["csf", "csf"]}, "several of csf"),
        ({"confounds": "motion6"}, "valid list"),
        ({"scrub": {}}, "give fd"),
        ({"scrub": {"fd": 0}}, "greater than 0"),
        ({"scrub": {"fd": 0.5, "shortest": -1}}, "greater than or equal to 0"),
        ({"smooth": 4}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Clean.model_validate(given)


@pytest.mark.parametrize("given", [{}, {"polynomials": 0}, {"confounds": []}])
def test_nothing_may_be_asked_for(given):
    assert Clean.model_validate(given).does_nothing
