"""Films that began late, were cropped, or went over two scans, from files to windows of a planted signal."""

import shutil

import numpy as np
import pytest
import xarray as xr
import yaml
from cifti_files import brain_models, write_dtseries
from film_files import write_film
from store_files import call

import simdata
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import clip_split, find_windows, separation

TR, LAG, SECONDS = 1.49, 6, 100
PLAYS = {  # subject -> scan -> onset, film start, duration, s
    "1": {"1": (7.3, 0.0, 100.0)},
    "2": {"1": (31.0, 20.0, 80.0)},
    "3": {"1": (7.3, 0.0, 50.0), "2": (12.0, 50.0, 50.0)},
}
CATALOG = {
    "name": "late",
    "title": "Late",
    "stimulus_lag": LAG,
    "bold": ["sub-{subject}_run-{run}.dtseries.nii"],
    "subject_pattern": "[0-9]",
    "plays": {"table": "plays.tsv"},
    "movies": [{"name": "A", "video": "A.mp4"}],
    "splits": {"scenes": {"fractions": {"train": [0.0, 0.6], "test": [0.6, 1.0]}}},
}
RNG = np.random.default_rng(7)  # what the film drives hardly resembles itself 7.3 or 11 s later
FREQUENCIES, PHASES = RNG.uniform(0.01, 0.15, 40), RNG.uniform(0, 2 * np.pi, 40)


def course(film):
    """What the film drives at its times, s."""
    return np.cos(2 * np.pi * np.asarray(film)[..., None] * FREQUENCIES + PHASES).sum(axis=-1)


def write_scan(path, onset, film_start, seed):
    """BOLD follows the film by the lag, in all of the brain alike, beside noise."""
    middles = (np.arange(round(140 / TR)) + 0.5) * TR
    planted = 20 * course(middles - onset + film_start - LAG)
    noise = np.random.default_rng(seed).standard_normal((len(middles), brain_models("32k").size))
    write_dtseries(path, 1000 + planted[:, None] + 20 * noise, step=TR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    lines = ["subject\trun\tmovie\tonset\tfilm_start\tduration"]
    for subject, scans in PLAYS.items():
        for run, (onset, start, duration) in scans.items():
            write_scan(
                folder / f"bold/sub-{subject}_run-{run}.dtseries.nii", onset, start, int(subject + run)
            )
            lines.append(f"sub-{subject}\t{run}\tA\t{onset}\t{start}\t{duration}")
    (folder / "plays.tsv").write_text("\n".join(lines) + "\n")
    (folder / "movies").mkdir()
    write_film(folder / "movies/A.mp4", seconds=SECONDS)
    return folder


def build(folder, name, out=None, **changes):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(CATALOG | changes))
    out = out or folder / f"{name}.zarr"
    places = {"source": folder / "bold", "movies": folder / "movies", "out": out}
    return out, simdata.build(folder / f"{name}.yaml", **places, encoders=["logmel"])


@pytest.fixture(scope="module")
def store(folder):
    return build(folder, "late")[0]


def mean_course(store, subject):
    """Seconds that have rows, and the mean over the cortex of the z-scores there."""
    bold = xr.open_zarr(store).bold.sel(subject=subject, movie="A", hemisphere="L").mean("vertex").values
    rows = np.flatnonzero(~np.isnan(bold))
    return rows, bold[rows]


def agreement(rows, bold, shifts):
    return np.array([np.corrcoef(bold, course(rows + 0.5 - LAG + shift))[0, 1] for shift in shifts])


@pytest.mark.parametrize("subject", PLAYS)
def test_a_planted_signal_is_at_its_lag_to_a_twentieth_of_a_second(store, subject):
    rows, bold = mean_course(store, subject)
    shifts = np.arange(-12, 12, 0.01)
    found = agreement(rows, bold, shifts)
    assert found.max() > 0.98
    assert abs(shifts[found.argmax()]) < 0.05


def test_it_is_at_chance_where_the_onset_is_ignored(folder):
    movies = [{**CATALOG["movies"][0], "plays": {"duration": 100}}]
    ignored, _ = build(folder, "ignored", plays="start", movies=movies, subject_pattern="[12]")
    for subject in "12":
        rows, bold = mean_course(ignored, subject)
        assert abs(agreement(rows, bold, [0.0])[0]) < 0.25
    rows, bold = mean_course(ignored, "1")
    shifts = np.arange(-12, 12, 0.01)
    found = agreement(rows, bold, shifts)
    assert shifts[found.argmax()] == pytest.approx(-7.3, abs=0.05)


def test_the_store_says_which_rows_there_are_and_of_which_scan(store):
    plain = xr.open_zarr(store)
    assert plain.volumes.values.tolist() == [SECONDS]
    assert plain.reach.values.tolist() == [6]
    assert (plain.run.sel(subject="1", movie="A") == 1).all()
    cropped = plain.run.sel(subject="2", movie="A").values
    assert not cropped[:20].any()
    assert (cropped[20:] == 1).all()
    assert plain.run.sel(subject="3", movie="A").values.tolist() == [1] * 50 + [2] * 50
    assert plain.simdata.flag_names("segment")[1] == "A"


def test_windows_lie_in_one_scan_and_training_shares_no_volume_with_a_test(store):
    dataset = open_dataset(store)
    embeddings = [dataset.embedding("audio_logmel")]
    found = find_windows(dataset, clip_split(dataset, embeddings), 3, LAG)
    for subject in range(3):
        own = found[found["subject"] == subject]
        codes = dataset.run[subject, 0][own["second"][:, None] + np.arange(3)]
        assert len(own) > 60
        assert (codes > 0).all()
        assert (codes == codes[:, :1]).all()
    trained, tested = (found[found["scene_split"] == code] for code in (1, 3))
    assert tested["second"].min() - (trained["second"].max() + 2) >= 6
    assert separation(dataset, 3, embeddings) == 3 + 6


def test_what_runs_lack_is_in_the_overview(store):
    shown = " ".join(call("info", store).output.split())
    assert "is of 2 scans" in shown
    assert "has no BOLD of 20 s of 100" in shown


def test_a_run_whose_plays_change_is_converted_again_and_no_other(folder, store, tmp_path):
    out = tmp_path / "again.zarr"
    shutil.copytree(store, out)
    _, summary = build(folder, "late", out)
    assert (summary.converted, summary.notes) == ([], [])
    assert sorted(summary.current) == ["1/A", "2/A", "3/A", "film/A"]
    table = folder / "plays.tsv"
    told = table.read_text()
    table.write_text(told.replace("2\t1\tA\t31.0", "2\t1\tA\t31.5"))
    _, summary = build(folder, "late", out)
    table.write_text(told)
    assert summary.converted == ["2/A"]
