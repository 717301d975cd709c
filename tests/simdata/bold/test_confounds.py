"""What a table of confounds may be like, and which are refused."""

import contextlib
import re

import numpy as np
import pytest
from confound_files import confounds, write_confounds
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.bold.confounds import ConfoundTable, check_same_scan
from simdata.common.errors import UserError

VOLUMES = 25


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_confounds(tmp_path_factory.mktemp("tables") / "t.tsv", confounds(VOLUMES))


def read(path, sets=("motion12", "csf")):
    table = ConfoundTable.open(path)
    return table.read_whole(table.columns_of(sets), VOLUMES)


def test_a_first_row_without_values_is_as_the_second(path):
    values = read(path, ["motion24"])
    table = confounds(VOLUMES)
    names = ConfoundTable.open(path).columns_of(["motion24"])
    expected = table[names].to_numpy()
    np.testing.assert_allclose(values[1:], expected[1:])
    np.testing.assert_allclose(values[0], np.where(np.isnan(expected[0]), expected[1], expected[0]))
    assert np.isnan(expected[0]).sum() == 12


def test_components_are_of_the_combined_mask(path, tmp_path):
    assert ConfoundTable.open(path).columns_of(["acompcor3"]) == [
        "a_comp_cor_08",
        "a_comp_cor_09",
        "a_comp_cor_10",
    ]
    with pytest.raises(UserError, match=r"has 4 components of aCompCor's combined mask.* asks for 5"):
        ConfoundTable.open(path).columns_of(["acompcor5"])
    alone = tmp_path / "alone.tsv"
    alone.write_text(path.read_text())
    with pytest.raises(UserError, match=r"has no alone\.json beside it"):
        ConfoundTable.open(alone).columns_of(["acompcor3"])
    newer = confounds(VOLUMES).assign(c_comp_cor_00=0.0)  # fMRIPrep 21: masks have names of their own
    newer.to_csv(alone, sep="\t", na_rep="n/a", index=False)
    assert ConfoundTable.open(alone).columns_of(["acompcor2"]) == ["a_comp_cor_00", "a_comp_cor_01"]
    for broken in ("[1]", "{", "", "[" * 100_000, "\udcff"):
        alone.with_suffix(".json").write_bytes(broken.encode("utf-8", "surrogateescape"))
        with pytest.raises(UserError, match=r"alone\.json: cannot be read as JSON"):
            ConfoundTable.open(alone).columns_of(["acompcor2"])


def edited(path, tmp_path, edit):
    lines = path.read_text().splitlines()
    other = tmp_path / "other.tsv"
    other.write_text("\n".join(edit(lines)) + "\n")
    return other


DAMAGE = {
    "a column is gone": (
        lambda lines: [lines[0].replace("csf\t", "CSF\t", 1), *lines[1:]],
        r"has no column csf; give the scan's own",
    ),
    "no columns": (lambda lines: ["nothing", *["1"] * VOLUMES], r"trans_x, .*, rot_y and 8 more"),
    "a row is short": (
        lambda lines: [*lines[:9], lines[9][:40], *lines[10:]],
        r"row 8 \(from 0\) has \d+ fields, its header \d+; is it whole",
    ),
    "cut off": (lambda lines: lines[:-4], r"has 21 rows, and the scan 25 volumes"),
    "too long": (lambda lines: [*lines, lines[-1]], r"has 26 rows, and the scan 25 volumes"),
    "a word": (
        lambda lines: [*lines[:5], re.sub(r"^\S+", "much", lines[5]), *lines[6:]],
        r"row 4 \(from 0\) has 'much' for trans_x, which is no number",
    ),
    "infinite": (
        lambda lines: [*lines[:5], re.sub(r"^\S+", "-inf", lines[5]), *lines[6:]],
        r"has '-inf' for trans_x",
    ),
    "n/a in the middle": (
        lambda lines: [*lines[:5], re.sub(r"^\S+", "n/a", lines[5]), *lines[6:]],
        r"row 4 \(from 0\) has no trans_x",
    ),
    "n/a in the second row too": (
        lambda lines: [lines[0], *[re.sub(r"^\S+", "n/a", line) for line in lines[1:3]], *lines[3:]],
        r"row 0 \(from 0\) has no trans_x",
    ),
    "a column twice": (lambda lines: [f"{lines[0]}\tcsf", *lines[1:]], r"has the column 'csf' twice"),
    "empty": (lambda lines: [], r"has no column trans_x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_table_that_is_not_whole_is_one_message(path, tmp_path, damage):
    edit, message = DAMAGE[damage]
    other = edited(path, tmp_path, edit)
    with pytest.raises(UserError, match=message) as raised:
        read(other)
    assert str(raised.value).startswith(str(other))


@settings(deadline=None, max_examples=150)
@given(at=st.floats(0, 1), length=st.integers(0, 3000), put=st.binary(max_size=20))
def test_any_damage_is_found_or_harmless(path, tmp_path_factory, at, length, put):
    content = path.read_bytes()
    place = int(at * len(content))
    other = tmp_path_factory.mktemp("fuzz") / "other.tsv"
    other.write_bytes(content[:place] + put + content[place + length :])
    with contextlib.suppress(UserError):  # whatever else is raised fails the test
        values = read(other)
        assert values.shape == (VOLUMES, 13)
        assert np.isfinite(values).all()


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read as TSV"):
        ConfoundTable.open(tmp_path)
    with pytest.raises(UserError, match="cannot be read as TSV"):
        ConfoundTable.open(tmp_path / "none.tsv")
    large = tmp_path / "large.tsv"
    with large.open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(UserError, match="has more than"):
        ConfoundTable.open(large)


@pytest.mark.parametrize(
    ("bold", "table", "same"),
    [
        ("sub-1_task-a_space-fsLR_bold.nii", "sub-1_task-a_desc-confounds_timeseries.tsv", True),
        ("sub-1_task-a_run-1_bold.nii", "sub-1_task-a_desc-confounds_timeseries.tsv", True),
        ("sub-1_task-a_bold.nii", "sub-2_task-a_desc-confounds_timeseries.tsv", False),
        ("sub-1_task-a_bold.nii", "sub-1_task-b_desc-confounds_timeseries.tsv", False),
        ("sub-1_ses-2_task-a_bold.nii", "sub-1_ses-1_task-a_desc-confounds_timeseries.tsv", False),
        ("100610_MOVIE1.dtseries.nii", "Movement.tsv", True),
    ],
)
def test_a_table_of_another_scan_is_refused(tmp_path, bold, table, same):
    if same:
        check_same_scan(tmp_path / bold, tmp_path / table)
    else:
        with pytest.raises(UserError, match="is the table of"):
            check_same_scan(tmp_path / bold, tmp_path / table)
