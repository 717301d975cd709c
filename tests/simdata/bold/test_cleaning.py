"""Cleaning against nilearn, which reads the same tables."""

from pathlib import Path
from types import SimpleNamespace

import nilearn.signal
import numpy as np
import pytest
from confound_files import confounds, write_confounds
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.interfaces.fmriprep.load_confounds_scrub import optimize_scrub

from simdata.bold.cleaning import Projection, orthonormal, scrubbed_volumes
from simdata.bold.confounds import ConfoundTable
from simdata.common.errors import UserError
from simdata.release.clean_rule import Clean, Scrub

VOLUMES, TR = 180, 1.49
NAME = "sub-01_ses-1_task-film_run-1_space-fsLR_den-91k_bold.dtseries.nii"
TABLE = "sub-01_ses-1_task-film_run-1_desc-confounds_timeseries.tsv"
SERIES = 1000 + 30 * np.random.default_rng(1).standard_normal((VOLUMES, 40)).cumsum(axis=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("func")
    table = confounds(VOLUMES)
    table.loc[[20, 90, 94], "framewise_displacement"] = 0.9
    table.loc[[50], "std_dvars"] = 2.0
    write_confounds(folder / TABLE, table)
    (folder / NAME).touch()  # nilearn finds a table by the name of its scan
    return folder


def scan(path, volumes=VOLUMES, tr=TR):
    return SimpleNamespace(path=Path(path), volumes=volumes, tr=tr)


def cleaned(projection, series=SERIES):
    """As the kernel does it, on (volumes, n)."""
    centred = series - series[~projection.scrubbed].mean(axis=0)
    fit, basis = projection.fit.astype(float), projection.basis.astype(float)
    return centred - basis.T @ (fit @ centred)


def by_nilearn(series=SERIES, **options):
    options = {"detrend": False, "standardize": None, "filter": False, "t_r": TR, **options}
    found = nilearn.signal.clean(series.copy(), **options)
    return found - found.mean(axis=0)


def from_nilearns_table(folder, strategy, **options):
    """Columns and kept volumes; without the table's own cosines, which nilearn always takes."""
    columns, kept = load_confounds(str(folder / NAME), strategy=strategy, demean=False, **options)
    return columns.drop(columns="cosine00", errors="ignore"), kept


def relative(found, expected):
    return np.abs(found - expected).max() / expected.std()


STRATEGIES = {
    "motion6": ("motion", {"motion": "basic"}),
    "motion12": ("motion", {"motion": "derivatives"}),
    "motion24": ("motion", {"motion": "full"}),
    "global": ("global_signal", {}),
    "acompcor3": ("compcor", {"compcor": "anat_combined", "n_compcor": 3}),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_set_of_confounds_is_nilearns(folder, name):
    strategy, options = STRATEGIES[name]
    needed = ("high_pass", strategy) if strategy == "compcor" else (strategy,)
    columns, _ = from_nilearns_table(folder, needed, **options)
    found = Projection.of(Clean(confounds=[name]), scan(folder / NAME), folder / TABLE)
    assert set(found.record["columns"]) == set(columns)
    assert relative(cleaned(found), by_nilearn(confounds=columns)) < 1e-5


def test_white_matter_and_csf_and_everything_at_once(folder):
    rule = Clean(high_pass=0.01, confounds=["motion12", "csf", "white_matter", "global"])
    columns, _ = from_nilearns_table(folder, ("motion", "wm_csf", "global_signal"), motion="derivatives")
    found = Projection.of(rule, scan(folder / NAME), folder / TABLE)
    expected = by_nilearn(confounds=columns, filter="cosine", high_pass=0.01)
    assert relative(cleaned(found), expected) < 1e-5
    assert found.record["rank"] == len(found.record["columns"]) == 15 + int(2 * VOLUMES * TR * 0.01)


@pytest.mark.parametrize("high_pass", [0.004, 0.0078125, 0.01, 0.05])
def test_cosines_are_nilearns(high_pass):
    found = Projection.of(Clean(high_pass=high_pass), scan(NAME), None)
    assert relative(cleaned(found), by_nilearn(filter="cosine", high_pass=high_pass)) < 1e-5


def test_a_polynomial_of_order_1_is_nilearns_detrending():
    found = Projection.of(Clean(polynomials=1), scan(NAME), None)
    assert relative(cleaned(found), by_nilearn(detrend=True)) < 1e-5


@pytest.mark.parametrize("order", [2, 5])
def test_polynomials_are_numpys(order):
    time = np.arange(VOLUMES)
    fitted = np.polynomial.Polynomial.fit
    expected = np.array([one - fitted(time, one, order)(time) for one in SERIES.T]).T
    found = Projection.of(Clean(polynomials=order), scan(NAME), None)
    assert relative(cleaned(found), expected) < 1e-5


@pytest.mark.parametrize("shortest", [0, 5])
def test_scrubbed_volumes_are_nilearns_and_so_is_what_is_left(folder, shortest):
    columns, kept = from_nilearns_table(
        folder,
        ("motion", "scrub"),
        motion="basic",
        scrub=shortest,
        fd_threshold=0.5,
        std_dvars_threshold=1.8,
    )
    rule = Clean(high_pass=0.01, confounds=["motion6"], scrub=Scrub(fd=0.5, dvars=1.8, shortest=shortest))
    found = Projection.of(rule, scan(folder / NAME), folder / TABLE)
    np.testing.assert_array_equal(np.flatnonzero(~found.scrubbed), kept)
    assert {0, 20, 50, 90, 94} <= set(found.record["scrubbed"])
    assert (92 in found.record["scrubbed"]) == (shortest == 5)
    expected = by_nilearn(confounds=columns, sample_mask=kept, filter="cosine", high_pass=0.01)
    assert relative(cleaned(found)[kept], expected) < 1e-5
    assert found.record["thresholds"] == {"fd": 0.5, "dvars": 1.8, "shortest": shortest}


@settings(deadline=None, max_examples=60)
@given(
    above=st.sets(st.integers(0, 39), min_size=1, max_size=20),
    shortest=st.integers(0, 12),
)
def test_short_stretches_go_as_nilearns_do(tmp_path_factory, above, shortest):
    table = confounds(40)
    table["framewise_displacement"] = np.isin(np.arange(40), list(above)) * 1.0
    table = table.drop(columns="non_steady_state_outlier00")
    path = write_confounds(tmp_path_factory.mktemp("scrub") / "table.tsv", table)
    found = scrubbed_volumes(ConfoundTable.open(path), Scrub(fd=0.5, shortest=shortest), 40)
    expected = np.array(sorted(above))
    if shortest:
        expected = optimize_scrub(expected, 40, shortest)
    np.testing.assert_array_equal(np.flatnonzero(found), expected)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(0, 12), scrubbed=st.integers(0, 10))
def test_a_basis_is_orthonormal_where_it_is_measured_and_of_nothing_twice(seed, columns, scrubbed):
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((50, columns)) * 10.0 ** rng.integers(-2, 6, columns)
    design = np.hstack([design, design[:, :3] * 2 + 5, np.ones((50, 1))])  # others again, and a constant
    kept = np.ones(50, bool)
    kept[rng.permutation(50)[:scrubbed]] = False
    fit, basis = orthonormal(design, kept)
    assert len(fit) == columns
    np.testing.assert_allclose(fit @ fit.T, np.eye(columns), atol=1e-9)
    np.testing.assert_allclose(fit.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(fit[:, kept], basis[:, kept])
    assert not fit[:, ~kept].any()
    series = design[:, :columns] @ rng.standard_normal(columns) + 3
    left = series - series[kept].mean() - basis.T @ (fit @ (series - series[kept].mean()))
    assert np.abs(left).max(initial=0) <= 1e-6 * np.abs(series).max(initial=1)


def test_nothing_is_asked_for_and_nothing_done():
    assert Clean().does_nothing
    found = Projection.of(Clean(), scan(NAME), None)
    assert found.basis.shape == (0, VOLUMES)


def test_what_is_missing_is_said_in_one_message(folder, tmp_path):
    with pytest.raises(UserError, match=r"has no table of confounds beside it, and the catalog's `clean`"):
        Projection.of(Clean(confounds=["csf"]), scan(folder / NAME), None)
    other = tmp_path / TABLE.replace("run-1", "run-2")
    with pytest.raises(UserError, match=r"is the table of run-2, and sub-01.* is of run-1"):
        Projection.of(Clean(confounds=["csf"]), scan(folder / NAME), other)
    with pytest.raises(UserError, match=r"has 180 rows, and the scan 181 volumes"):
        Projection.of(Clean(confounds=["csf"]), scan(folder / NAME, 181), folder / TABLE)
    with pytest.raises(UserError, match=r"has 180 rows, and the scan 170 volumes"):
        Projection.of(Clean(confounds=["csf"]), scan(folder / NAME, 170), folder / TABLE)
    few = write_confounds(tmp_path / TABLE, confounds(30))
    with pytest.raises(UserError, match=r"30 of 30 volumes are left, and `clean` takes 24 columns"):
        Projection.of(Clean(confounds=["motion24"]), scan(folder / NAME, 30), few)
    table = confounds(30)
    table["framewise_displacement"] = np.arange(30) < 29
    few = write_confounds(tmp_path / TABLE, table)
    with pytest.raises(UserError, match=r"1 of 30 volumes are left \(0-28 are scrubbed\)"):
        Projection.of(Clean(scrub=Scrub(fd=0.5)), scan(folder / NAME, 30), few)
