import pytest
from hypothesis import given
from hypothesis import strategies as st

from simdata.release.bids_names import BidsSelection, check_template, filled, parse_name

LABELS = st.text("abcXYZ0189+", min_size=1, max_size=6)
ENTITIES = st.dictionaries(
    st.sampled_from(
        ["sub", "ses", "task", "acq", "dir", "run", "echo", "hemi", "space", "den", "desc", "res"]
    ),
    LABELS,
    min_size=1,
)


@given(entities=ENTITIES, data=st.data(), suffix=st.sampled_from(["bold", "", "timeseries"]))
def test_a_name_says_the_same_in_any_order_of_its_entities(entities, data, suffix):
    order = data.draw(st.permutations(list(entities)))
    name = "_".join([*(f"{key}-{entities[key]}" for key in order), suffix]).removesuffix("_")
    parsed = parse_name(name + ".dtseries.nii")
    assert parsed.entities == entities
    assert (parsed.suffix, parsed.extension) == (suffix, ".dtseries.nii")
    wanted = {key: value for key, value in entities.items() if key not in ("sub", "hemi")}
    wanted["suffix"] = suffix or None
    assert BidsSelection(wanted).takes(parsed)
    for key in set(wanted) - {"suffix"}:
        assert BidsSelection(wanted | {key: "other"}).differing(parsed) == [key]
        assert BidsSelection(wanted | {key: None}).differing(parsed) == [key]
        assert BidsSelection(wanted | {key: ["other", wanted[key]]}).takes(parsed)


@given(st.text())
def test_any_name_is_parsed_or_is_none(name):
    parsed = parse_name(name)
    assert parsed is None or parsed.entities


@pytest.mark.parametrize(
    "name",
    [
        "100610_MOVIE1.dtseries.nii",
        "sub-01_sub-02_bold.nii",
        "sub-01_task-a_task-b_bold.nii",
        "sub-01_film_bold.nii",
        "README",
        "bold.json",
        "sub-01__bold.nii",
        "sub-01_task-two-words_bold.nii",
        "sub-01",
        "sub-01_task-film_bo ld.nii",
        "x" * 300,
    ],
)
def test_other_names_are_none(name):
    assert parse_name(name) is None


def test_numbers_may_have_zeros_in_front_and_labels_may_not():
    name = parse_name("sub-01_ses-001_task-film_run-01_bold.nii")
    assert BidsSelection({"run": 1}).takes(name)
    assert BidsSelection({"run": "001"}).takes(name)
    assert not BidsSelection({"ses": "1"}).takes(name)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "names no entity"),
        ({"density": "91k"}, "write den"),
        ({"hemi": "L"}, "leave it out"),
        ({"ses": 1}, "write it in quotes"),
        ({"run": True}, "write it in quotes"),
        ({"run": -1}, "write it in quotes"),
        ({"space": "space-fsLR"}, "without space-"),
        ({"space": "../x"}, "cannot be in a name"),
        ({"extension": "nii"}, "a dot, letters and digits"),
        ({"Space": "x"}, "is no entity"),
        ({"space": []}, "empty list"),
        ({"space": {"a": 1}}, "is no text"),
    ],
)
def test_what_is_no_entity_or_value_is_said(wanted, message):
    with pytest.raises(ValueError, match=message):
        BidsSelection(wanted)


def test_templates_are_filled_with_a_name_s_entities():
    entities = {"task": "life", "run": "01"}
    assert filled(check_template("{task}_run-{run}"), entities) == "life_run-01"
    assert filled(check_template("{task}_{ses}"), entities) is None
    for wrong, message in (
        ("film", "names no entity"),
        ("{task", "expected '}'"),
        ("{task.upper}", "as they are"),
        ("{task!r}", "as they are"),
        ("{0}", "as they are"),
        ("{session}", "write {ses}"),
        ("{sub}", "does not tell one film from another"),
        ("{task} {run}", "letters, digits"),
        ("{{task}}", "names no entity"),
    ):
        with pytest.raises(ValueError, match=message):
            check_template(wrong)
