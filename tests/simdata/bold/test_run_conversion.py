"""One run through the conversion, against scipy on nibabel's own reading of the file."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from cifti_files import noise, valid_vertices, write_dtseries
from conversions import CAPACITY, VOLUMES, convert, run_of, stored

from simdata.bold.run_conversion import convert_run, memory_needed
from simdata.common.errors import UserError
from simdata.release.catalog import Movie
from simdata.release.sources import Run
from simdata.store.encoding import ENCODINGS
from simdata.surface.resampling import cortex_weights


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_dtseries(tmp_path_factory.mktemp("run") / "run.dtseries.nii", noise("32k", VOLUMES), "32k")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_equals_a_sparse_product_to_a_step_of_the_encoding(source, tmp_path, encoding):
    converted = convert(source, tmp_path, encoding, threads=2)
    data = nib.load(source).get_fdata()
    first = 0
    for i, (hemisphere, values) in enumerate(zip("LR", stored(converted, encoding), strict=True)):
        vertices = valid_vertices("32k", hemisphere)
        weights = cortex_weights("32k", hemisphere, vertices).astype(np.float64)
        expected = (weights @ data[:, first : first + len(vertices)].T).T
        first += len(vertices)
        inside = np.diff(weights.indptr) > 0
        np.testing.assert_array_equal(converted.cortex[i], inside)
        mean, std = expected.mean(axis=0)[inside], expected.std(axis=0)[inside]
        np.testing.assert_allclose(converted.mean[i, inside], mean, rtol=3e-7)
        np.testing.assert_allclose(converted.std[i, inside], std, rtol=1e-4)
        z = (expected[:, inside] - mean) / std
        error = np.abs(values[:, inside].astype(np.float64) * ENCODINGS[encoding].scale - z)
        arithmetic = 2 * np.finfo(np.float32).eps * (mean + std) / std * (1 + np.abs(z))
        assert (error <= ENCODINGS[encoding].error_bound(z) + arithmetic).all()


@pytest.mark.parametrize("change", ["threads", "compressed", "right hemisphere first"])
def test_threads_compression_and_order_change_nothing(source, tmp_path, change):
    expected = convert(source, tmp_path / "expected")
    path, options = source, {}
    if change == "threads":
        options = {"threads": 3, "checksum": True}
    elif change == "compressed":
        path = tmp_path / "run.dtseries.nii.gz"
        path.write_bytes(gzip.compress(source.read_bytes(), compresslevel=1))
        options = {"checksum": True}
    else:
        image = nib.load(source)
        axis = image.header.get_axis(1)
        parts = {name: (rows, model) for name, rows, model in axis.iter_structures()}
        order = sorted(parts, reverse=True)  # thalamus, right, left
        data = np.concatenate(
            [image.get_fdata(dtype=np.float32)[:, parts[name][0]] for name in order], axis=1
        )
        models = parts[order[0]][1] + parts[order[1]][1] + parts[order[2]][1]
        path = write_dtseries(tmp_path / "other.dtseries.nii", data, models=models)
    found = convert(path, tmp_path / "found", **options)
    for ours, theirs in zip(found.shards, expected.shards, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    for name in ("mean", "std", "cortex"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if options.get("checksum") else ""
    assert found.provenance["sha256"] == digest


def test_a_tr_that_the_catalog_gives_is_checked(tmp_path):
    slow = write_dtseries(tmp_path / "slow.dtseries.nii", noise("32k", VOLUMES), step=0.72)
    with pytest.raises(UserError, match=r"slow.*TR of 0\.72 s, the catalog says 1 s"):
        convert(slow, tmp_path)


def test_clipped_values_are_counted(tmp_path):
    data = noise("32k", 100)
    spikes = [5, 700, 40_000, 50_000]  # rows of both hemispheres
    data[50, spikes] = data[:, spikes].mean(axis=0) + 1e6
    path = write_dtseries(tmp_path / "run.dtseries.nii", data)
    run = run_of(path)
    run = Run.of_file(run.subject, run.movie.model_copy(update={"volumes": 100}), path, run.relative)
    converted = convert_run(
        run, tr=1.0, capacity=100, encoding=ENCODINGS["int8"], staging=tmp_path, checksum=False
    )
    values = stored(converted, capacity=100)
    clipped = sum(int(np.count_nonzero(v == 127)) for v in values)
    assert 4 <= clipped <= 40
    assert converted.provenance["clipped"] == clipped / (converted.cortex.sum() * 100)


def test_a_bad_second_hemisphere_ends_every_thread(tmp_path):
    data = noise("32k", VOLUMES)
    data[3, len(valid_vertices("32k", "L")) :] = 7
    path = write_dtseries(tmp_path / "run.dtseries.nii", data)
    threads = "import threading; print(threading.active_count())"
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from conversions import convert
try:
    convert(Path({str(path)!r}), Path({str(tmp_path)!r}), threads=2, checksum=True)
except Exception as error:
    print(error)
{threads}
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "volumes 3 of R (counted from 0) have one value everywhere" in printed
    assert printed.splitlines()[-1] == "1"


def test_a_source_that_is_compressed_and_cut_short_is_an_error(source, tmp_path):
    path = tmp_path / "run.dtseries.nii.gz"
    packed = gzip.compress(source.read_bytes(), compresslevel=1)
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(UserError, match=r"run\.dtseries\.nii\.gz: cannot be decompressed"):
        convert(path, tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("suffix", "encoding"), [("", "int8"), (".gz", "float32")])
def test_peak_memory_is_within_what_is_stated(source, tmp_path, suffix, encoding):
    path = tmp_path / f"run.dtseries.nii{suffix}"
    if suffix:
        path.write_bytes(gzip.compress(source.read_bytes(), compresslevel=1))
    else:
        shutil.copy(source, path)
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
import simdata.building, distributed  # what a worker has imported
from conversions import convert
convert(Path({str(path)!r}), Path({str(tmp_path)!r}), {encoding!r}, threads=2, checksum=True)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) * 1024 <= memory_needed(run_of(path), ENCODINGS[encoding])


def test_runs_whose_names_join_alike_have_shards_of_their_own(source, tmp_path):
    """Subject a-b with movie c, and a with b-c, may be converted at the same time."""
    paths = set()
    for subject, name in (("a-b", "c"), ("a", "b-c")):
        movie = Movie(name=name, volumes=VOLUMES, phase_encoding="AP", session=1, video="A.mp4", segments=[])
        run = Run.of_file(subject, movie, source, source.name)
        options = {"encoding": ENCODINGS["int8"], "staging": tmp_path, "checksum": False}
        paths |= set(convert_run(run, tr=1.0, capacity=CAPACITY, **options).shards)
    assert len(paths) == 4


def test_a_second_attempt_is_not_in_the_way_of_the_first_which_may_be_dead_or_at_work(tmp_path):
    path = tmp_path / "run.dtseries.nii"
    write_dtseries(path, noise("32k", VOLUMES), "32k")
    first, second = (convert(path, tmp_path / "staging") for _ in range(2))
    assert not set(first.shards) & set(second.shards)
    assert [shard.read_bytes() for shard in first.shards] == [shard.read_bytes() for shard in second.shards]
