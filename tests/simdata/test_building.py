"""The build, end to end on real files: CIFTI-2 runs and mp4 films made here."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
import yaml
from cifti_files import CORTEX, brain_models, noise, valid_vertices, write_dtseries
from click.testing import CliRunner
from film_files import number_of, write_film
from nibabel.cifti2 import BrainModelAxis
from store_files import contents

import simdata
from simdata.bold.prepared_scan import prepare
from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.store.encoding import ENCODINGS
from simdata.store.lock import creating, exclusive
from simdata.store.metadata import Metadata
from simdata.store.provenance import records
from simdata.surface.resampling import cortex_weights

VOLUMES = 20
CATALOG = {
    "name": "mini",
    "title": "Mini",
    "tr": 1.0,
    "stimulus_lag": 5,
    "bold": ["{subject}/{movie}.dtseries.nii"],
    "subject_pattern": "[0-9]+",
    "movies": [
        {
            "name": name,
            "volumes": VOLUMES - cut,
            "phase_encoding": "AP",
            "session": 1,
            "video": f"{name}.mp4",
            "segments": [{"name": f"clip{name}", "start": 2, "stop": 16}],
        }
        for name, cut in (("A", 0), ("B", 2))
    ],
    "splits": {"subjects": {"val": ["2"], "test": ["3"]}},
}
# Subject 1 has both runs, at 2 mm; subject 2 only movie A, at 1.6 mm.
RUNS = {("1", "A"): "32k", ("1", "B"): "32k", ("2", "A"): "59k"}


def write_run(folder, subject, movie, density, seed=0):
    volumes = next(m["volumes"] for m in CATALOG["movies"] if m["name"] == movie)
    data = noise(density, volumes, seed)
    write_dtseries(folder / subject / f"{movie}.dtseries.nii", data, density)
    return data


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "mini.yaml").write_text(yaml.safe_dump(CATALOG))
    for seed, ((subject, movie), density) in enumerate(RUNS.items()):
        write_run(folder / "bold", subject, movie, density, seed)
    (folder / "movies").mkdir()
    for movie in "AB":
        write_film(folder / "movies" / f"{movie}.mp4", seconds=VOLUMES)
    return folder


@pytest.fixture
def own_sources(sources, tmp_path):
    """A copy to damage."""
    return shutil.copytree(sources, tmp_path / "sources")


def arguments(folder, out, *options):
    places = ["--source", folder / "bold", "--movies", folder / "movies", "--out", out]
    return [str(argument) for argument in ("build", folder / "mini.yaml", *places, *options)]


def run_build(folder, out, *options):
    result = CliRunner().invoke(cli, arguments(folder, out, *options))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def store(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "mini.zarr"
    assert "5 converted, 0 already there, 0 skipped" in run_build(sources, out).output
    return out


def snapshot(store):
    """Every file with its content and time of change."""
    return {
        str(p.relative_to(store)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in store.rglob("*")
        if p.is_file()
    }


def assert_same_store(store, expected):
    """The same files, byte for byte but for matrix products, whose last bits depend on the threads."""
    found, wanted = snapshot(store), snapshot(expected)
    assert set(found) == set(wanted)
    inexact = ("zarr.json", "video_motion_energy")
    assert all(
        found[name][0] == wanted[name][0] for name in found if not any(part in name for part in inexact)
    )
    energies = (xr.open_zarr(path, chunks=None).video_motion_energy.values for path in (store, expected))
    np.testing.assert_allclose(*energies, rtol=1e-4, atol=1e-6)


def resampled(folder, subject, movie, density, hemisphere):
    """The oracle: nibabel's own reading of the run, columns by the brain models, dense weights."""
    image = nib.load(folder / "bold" / subject / f"{movie}.dtseries.nii")
    structure = f"CIFTI_STRUCTURE_CORTEX_{dict(L='LEFT', R='RIGHT')[hemisphere]}"
    models = image.header.get_axis(1)
    rows = next(rows for name, rows, _ in models.iter_structures() if name == structure)
    weights = cortex_weights(density, hemisphere, valid_vertices(density, hemisphere))
    return image.get_fdata()[:, rows] @ weights.T.astype(np.float64), np.diff(weights.indptr) > 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_values_times_std_plus_mean_are_the_resampled_source(sources, store, tmp_path, encoding):
    if encoding != "int8":
        store = tmp_path / "s.zarr"
        run_build(sources, store, "--encoding", encoding, "--no-checksum")
    opened = xr.open_zarr(store, chunks=None)
    for (subject, movie), density in RUNS.items():
        for hemisphere in "LR":
            run = opened.sel(subject=subject, movie=movie, hemisphere=hemisphere)
            expected, inside = resampled(sources, subject, movie, density, hemisphere)
            values = run.bold.values[: len(expected)].astype(np.float64)
            mean, std = run.bold_mean.values, run.bold_std.values
            np.testing.assert_allclose(mean[inside], expected.mean(axis=0)[inside], rtol=1e-6)
            np.testing.assert_allclose(std[inside], expected.std(axis=0)[inside], rtol=1e-3)
            error = np.abs(values * std + mean - expected)[:, inside] / std[inside]
            z = ((expected - mean) / std)[:, inside]
            # Resampling and removing the mean are float32 arithmetic, at means of 10,000.
            arithmetic = 2 * np.finfo(np.float32).eps * (np.abs(mean) / std)[inside]
            assert (error <= ENCODINGS[encoding].error_bound(z) + arithmetic).all()
            assert np.isnan(values[:, ~inside]).all()
            assert np.isnan(run.bold.values[len(expected) :]).all()
    assert np.isnan(opened.bold.sel(subject="2", movie="B")).all()
    scanner = simdata.open(store).simdata.scanner_units().sel(subject="1", movie="A", hemisphere="R")
    expected, inside = resampled(sources, "1", "A", "32k", "R")
    np.testing.assert_allclose(scanner.values[:VOLUMES, inside], expected[:, inside], atol=150 / 20)


def test_statuses_coordinates_and_films_are_those_of_the_sources(sources, store):
    opened = xr.open_zarr(store, chunks=None)
    assert opened.run_status.values.tolist() == [[1, 1], [1, 0]]
    assert opened.film_status.values.tolist() == [1, 1]
    assert opened.subject_split.values.tolist() == ["train", "val"]
    np.testing.assert_allclose(opened.film_duration, VOLUMES, atol=0.05)
    assert [number_of(picture) for picture in opened.frame.sel(movie="A").values[:16]] == [*range(0, 384, 24)]
    for name in ("video_motion_energy", "audio_logmel"):
        rows = opened[name].values
        assert np.isfinite(rows[0, : VOLUMES - 2]).all()
        assert np.isnan(rows[0, VOLUMES - 2 :]).all()
    assert np.abs(opened.waveform.sel(movie="B").values[1, :1600]).max() > 5000


def test_cortex_is_what_all_runs_share(sources, store):
    cortex = xr.open_zarr(store).cortex.values
    for i, hemisphere in enumerate("LR"):
        inside = [
            np.diff(cortex_weights(density, hemisphere, valid_vertices(density, hemisphere)).indptr) > 0
            for density in ("32k", "59k")
        ]
        np.testing.assert_array_equal(cortex[i], inside[0] & inside[1])


def test_provenance_names_every_source_without_a_path_of_this_machine(sources, store):
    opened = xr.open_zarr(store)
    found, metadata = records(opened, store), Metadata.of(opened, store)
    assert set(found) == {"1/A", "1/B", "2/A", "film/A", "film/B"}
    record = found["2/A"]
    path = sources / "bold/2/A.dtseries.nii"
    sha = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (record["path"], record["size"], record["sha256"]) == (
        "2/A.dtseries.nii",
        path.stat().st_size,
        sha,
    )
    assert record["density"] == "59k"
    assert metadata.software["zarr"]
    assert str(sources) not in json.dumps(found)
    assert yaml.safe_load(metadata.catalog_text) == CATALOG


def test_a_second_build_does_nothing(sources, store):
    before = snapshot(store)
    assert "0 converted, 5 already there" in run_build(sources, store).output
    assert snapshot(store) == before


def test_workers_make_the_same_store(sources, store, tmp_path):
    run_build(sources, tmp_path / "two.zarr", "--workers", "2", "--max-memory", "4GB")
    assert_same_store(tmp_path / "two.zarr", store)


def test_a_changed_source_is_converted_again_and_nothing_else(own_sources, tmp_path):
    out = tmp_path / "s.zarr"
    run_build(own_sources, out)
    before = xr.open_zarr(out, chunks=None).bold.sel(subject="1").load()
    write_run(own_sources / "bold", "1", "B", "32k", seed=99)
    assert "1 converted, 4 already there" in run_build(own_sources, out).output
    after = xr.open_zarr(out, chunks=None).bold.sel(subject="1")
    np.testing.assert_array_equal(after.sel(movie="A"), before.sel(movie="A"))
    assert not np.array_equal(after.sel(movie="B"), before.sel(movie="B"), equal_nan=True)


def test_new_subjects_and_runs_join_the_store(own_sources, tmp_path):
    out = tmp_path / "s.zarr"
    run_build(own_sources, out)
    write_run(own_sources / "bold", "2", "B", "32k", seed=7)
    write_run(own_sources / "bold", "0", "A", "32k", seed=8)
    assert "2 converted, 5 already there" in run_build(own_sources, out).output
    opened = xr.open_zarr(out, chunks=None)
    assert opened.subject.values.tolist() == ["1", "2", "0"]
    assert opened.run_status.values.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert np.isfinite(opened.bold.sel(subject="0", movie="A").isel(second=3)).any()


def test_a_replaced_run_no_longer_narrows_the_cortex(own_sources, tmp_path):
    """A store that is built in two steps is the one that is built at once."""
    run_build(own_sources, tmp_path / "once.zarr")
    path = own_sources / "bold/1/B.dtseries.nii"
    kept = path.read_bytes()
    walls = [
        BrainModelAxis.from_surface(valid_vertices("32k", hemisphere)[200:], 32492, name=CORTEX[hemisphere])
        for hemisphere in "LR"
    ]
    models = walls[0] + walls[1]
    write_dtseries(path, noise("32k", VOLUMES - 2)[:, : models.size], models=models)
    run_build(own_sources, tmp_path / "steps.zarr")
    narrow = xr.open_zarr(tmp_path / "steps.zarr").cortex.values
    path.write_bytes(kept)
    run_build(own_sources, tmp_path / "steps.zarr")
    wide = xr.open_zarr(tmp_path / "steps.zarr").cortex.values
    assert narrow.sum() < wide.sum()
    np.testing.assert_array_equal(wide, xr.open_zarr(tmp_path / "once.zarr").cortex.values)


def test_a_build_that_stops_leaves_its_records_for_others(own_sources, tmp_path):
    """Those of what it has done, even if a bad source ends it."""
    out = tmp_path / "s.zarr"
    damage(own_sources, "flat")
    with pytest.raises(UserError, match=r"1/B\.dtseries\.nii"):
        run_build(own_sources, out)
    sources = records(xr.open_zarr(out), out)
    assert set(sources) == {"1/A"}
    assert not (out / ".build").exists()


def test_a_store_under_another_writer_is_not_touched(own_sources, tmp_path):
    out = tmp_path / "s.zarr"
    run_build(own_sources, out)
    write_run(own_sources / "bold", "9", "A", "32k", seed=3)
    before = contents(out)
    with exclusive(out), pytest.raises(UserError, match="another build is writing"):
        run_build(own_sources, out)
    assert contents(out) == before
    with creating(tmp_path / "new.zarr"), pytest.raises(UserError, match="another build is creating"):
        run_build(own_sources, tmp_path / "new.zarr")
    assert not (tmp_path / "new.zarr").exists()


def test_another_recipe_is_refused(sources, store, tmp_path):
    with pytest.raises(UserError, match=r"built with recipe\.encoding = int8, not float16"):
        run_build(sources, store, "--encoding", "float16")
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**CATALOG, "movies": CATALOG["movies"][:1]}))
    with pytest.raises(UserError, match=r"built with another catalog: movies are A; the store's are A, B"):
        CliRunner().invoke(
            cli,
            [*arguments(sources, store)[:1], str(other), *arguments(sources, store)[2:]],
            catch_exceptions=False,
        )


def damage(folder, kind):
    """Spoil the run 1/B; the pattern of the message that must come."""
    path = folder / "bold/1/B.dtseries.nii"
    models = brain_models("32k")
    if kind == "short":
        os.truncate(path, path.stat().st_size // 2)
        return "is cut short"
    if kind == "too few volumes":
        write_dtseries(path, noise("32k", VOLUMES - 5))
        return "has 15 volumes, the catalog says 18"
    if kind == "wrong TR":
        write_dtseries(path, noise("32k", VOLUMES - 2), step=0.8)
        return r"has a TR of 0\.8 s, the catalog says 1 s"
    if kind == "NaN":
        data = noise("32k", VOLUMES - 2)
        data[3, 10:29_000] = np.nan
        write_dtseries(path, data)
        return (
            r"28,990 of [\d,]+ vertices of L have NaN or infinite values: \d+ have data, and a run needs 500"
        )
    if kind == "flat":
        write_dtseries(path, np.zeros((VOLUMES - 2, models.size)))
        return r"of L never change their value: 0 have data"
    cortex_only = [model for _, _, model in models.iter_structures()][:1]
    write_dtseries(path, noise("32k", VOLUMES - 2)[:, : len(cortex_only[0])], models=cortex_only[0])
    return "has no CIFTI_STRUCTURE_CORTEX_RIGHT"


@pytest.mark.parametrize("kind", ["short", "too few volumes", "wrong TR", "NaN", "flat", "half a brain"])
def test_bad_sources_stop_the_build_or_are_skipped_and_leave_nothing(own_sources, tmp_path, kind):
    message = damage(own_sources, kind)
    out = tmp_path / "s.zarr"
    with pytest.raises(UserError, match=rf"1/B\.dtseries\.nii.*{message}"):
        run_build(own_sources, out, "--no-checksum")
    skipping = run_build(own_sources, out, "--no-checksum", "--on-error", "skip")
    assert skipping.exit_code == 3
    assert "skipped 1/B" in skipping.output
    assert xr.open_zarr(out).run_status.values.tolist() == [[1, 0], [1, 0]]
    assert not (out / "bold/c/0/1").exists()
    assert not (out / ".build").exists()
    write_run(own_sources / "bold", "1", "B", "32k")
    assert "1 converted" in run_build(own_sources, out, "--no-checksum").output


def small_files_only():
    """As on a disk that is full: a shard is 819 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))


def test_a_full_disk_stops_the_build_and_no_source_is_skipped_for_it(sources, store, tmp_path):
    out = tmp_path / "s.zarr"
    code = "from simdata.cli import main; main()"
    options = arguments(sources, out, "--no-checksum", "--on-error", "skip")
    full = subprocess.run(
        [sys.executable, "-c", code, *options], preexec_fn=small_files_only, capture_output=True, text=True
    )
    assert full.returncode == 1
    assert "cannot be written (OSError: [Errno 27] File too large)" in full.stderr
    assert "Traceback" not in full.stderr + full.stdout
    assert xr.open_zarr(out).run_status.values.sum() == 0
    assert "5 converted" in run_build(sources, out).output
    assert_same_store(out, store)


def test_what_nobody_foresaw_in_a_source_is_skipped_by_name(own_sources, tmp_path, monkeypatch):
    def stumble(run, *options):
        if run.path.name.startswith("B"):
            raise ZeroDivisionError("something of a library's")
        return prepare(run, *options)

    monkeypatch.setattr("simdata.bold.run_conversion.prepare", stumble)
    message = r"1/B\.dtseries\.nii: cannot be read \(ZeroDivisionError: something of a library's\)"
    with pytest.raises(UserError, match=message):
        run_build(own_sources, tmp_path / "s.zarr", "--no-checksum")
    skipping = run_build(own_sources, tmp_path / "s.zarr", "--no-checksum", "--on-error", "skip")
    assert re.search(message, skipping.output)
    assert xr.open_zarr(tmp_path / "s.zarr").run_status.values.tolist() == [[1, 0], [1, 0]]


def test_films_that_are_missing_or_too_short_are_named(own_sources, tmp_path):
    os.remove(own_sources / "movies/B.mp4")
    with pytest.raises(UserError, match="has no film of B"):
        run_build(own_sources, tmp_path / "s.zarr")
    write_film(own_sources / "movies/B.mp4", seconds=10)
    with pytest.raises(UserError, match=r"B\.mp4: lasts 10\.0 s, but the last clip of B ends at 16 s"):
        run_build(own_sources, tmp_path / "s.zarr")
    result = run_build(own_sources, tmp_path / "s.zarr", "--on-error", "skip")
    assert "4 converted, 0 already there, 1 skipped" in result.output, "what was bad was seen before all else"
    assert xr.open_zarr(tmp_path / "s.zarr").film_status.values.tolist() == [1, 0]


def test_what_was_not_fetched_or_not_taken_is_told(own_sources, tmp_path):
    """Of a DataLad clone of which not all was fetched, with folders that are not as the catalog says."""
    bold, out = own_sources / "bold", tmp_path / "s.zarr"
    link = bold / "7/A.dtseries.nii"
    link.parent.mkdir()
    link.symlink_to("../.git/annex/objects/x1/2k/MD5E-s5--a/MD5E-s5--a")
    with pytest.raises(UserError, match=r"7/A\.dtseries\.nii: content not fetched .*run `datalad get"):
        run_build(own_sources, out)
    assert not out.exists(), "it is said before anything is converted"
    shutil.copytree(bold / "1", bold / "1_old")
    (bold / "8").mkdir()
    result = run_build(own_sources, out, "--on-error", "skip")
    assert result.exit_code == 3
    assert "5 converted, 0 already there, 1 skipped" in result.output
    assert "3 of 8 possible runs are in the store; 5 absent" in result.output
    assert "skipped 7/A: " in result.output
    assert xr.open_zarr(out).subject.values.tolist() == ["1", "2", "7"]
    for path, reason in (("1_old", "its name is not that of a subject"), ("8", "is an empty folder")):
        (line,) = (line for line in result.output.splitlines() if line.rstrip(" │").endswith(f" {path}"))
        assert reason[:20] in line


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_build_shows_no_half_run_and_goes_on(sources, store, tmp_path, delay, workers):
    out = tmp_path / "s.zarr"
    code = "from simdata.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments(sources, out, "--workers", workers)]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not out.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(delay * float(workers))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    half = xr.open_zarr(out, chunks=None)
    for subject, movie in np.argwhere(half.run_status.values == 1):
        whole = xr.open_zarr(store, chunks=None).bold[subject, movie]
        np.testing.assert_array_equal(half.bold[subject, movie], whole)
    run_build(sources, out)
    assert_same_store(out, store)


def test_too_little_memory_is_said_before_anything_is_written(sources, tmp_path):
    with pytest.raises(UserError, match="--max-memory 105MB is too little"):
        run_build(sources, tmp_path / "s.zarr", "--max-memory", "100MiB")
    assert not (tmp_path / "s.zarr").exists()


def test_out_may_be_an_empty_folder_and_nothing_else_that_is_no_store(sources, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(UserError, match=f"--out .*{name}: is there and is not a simdata store"):
            run_build(sources, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "link"]
    run_build(sources, tmp_path / "empty", "--subject", "1")
    assert xr.open_zarr(tmp_path / "empty").run_status.values.any()


@pytest.mark.parametrize("url", ["s3://bucket/s.zarr", "file:///tmp/s.zarr", "memory://s"])
def test_a_url_is_not_taken_for_a_folder_of_that_name(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["build", "demo", "--source", ".", "--movies", ".", "--out", url],
        ["build", "demo", "--source", url, "--movies", ".", "--out", "s.zarr"],
        ["info", url],
        ["rechunk", "s.zarr", url, "--layout", "runs"],
        ["embed", url, "--movies", ".", "--encoder", "logmel"],
        ["demo", url],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert "is a URL; give a path of this machine" in result.output
    assert not list(tmp_path.iterdir())
