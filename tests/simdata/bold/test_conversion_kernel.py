"""The compiled kernel against scipy's sparse product and numpy's arithmetic, both of them in float64."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array, random_array

from simdata.bold.cleaning import orthonormal
from simdata.bold.clock import Timing
from simdata.bold.conversion_kernel import Passage, as_stored, convert_vertices, encode
from simdata.release.sources import Play
from simdata.store.encoding import ENCODINGS
from simdata.surface.resampling import Corners

EPS = np.finfo(np.float32).eps


def encoded(z, name):
    stored = np.empty(z.shape, ENCODINGS[name].dtype)
    factor = np.float32(1 / ENCODINGS[name].scale)
    return stored, encode(z.copy(), factor, as_stored(stored))


@pytest.mark.parametrize("name", ENCODINGS)
@settings(deadline=None)  # the first example compiles
@given(z=arrays(np.float32, 50, elements=st.floats(-7.875, 7.875, width=32)))
def test_encoded_values_keep_within_the_stated_bound(name, z):
    stored, clipped = encoded(z, name)
    assert clipped == 0
    error = np.abs(stored.astype(np.float64) * ENCODINGS[name].scale - z)
    # Below its smallest normal number, float16 has a fixed step of 6e-8.
    assert (error <= ENCODINGS[name].error_bound(z) + 6e-8).all()


def test_int8_clips_counts_and_never_writes_its_fill():
    stored, clipped = encoded(np.array([-100, -8.1, -7.9375, 0, 7.9375, 8.1, 100], np.float32), "int8")
    assert clipped == 4
    assert stored.tolist() == [-127, -127, -127, 0, 127, 127, 127]
    assert ENCODINGS["int8"].fill == -128


def test_float16_is_rounded_as_numpy_does_to_every_number_and_at_every_tie():
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (exact[1:] + exact[:-1]) / 2
    z = np.concatenate([exact, ties, np.nextafter(ties, 0), np.nextafter(ties, np.float32(np.inf))])
    z = np.concatenate([z, -z]).astype(np.float32)
    stored, _ = encoded(z, "float16")
    np.testing.assert_array_equal(stored.view(np.uint16), z.astype(np.float16).view(np.uint16))


def random_weights(rng, targets, rows):
    """Up to three weights a target that sum to 1; some targets have none."""
    matrix = random_array((targets, rows), density=2.0 / rows, rng=rng, dtype=np.float64).tolil()
    for target in range(targets):
        matrix.rows[target], matrix.data[target] = matrix.rows[target][:3], matrix.data[target][:3]
    matrix = csr_array(matrix)
    total = np.maximum(matrix.sum(axis=1), 1e-12)
    matrix.data /= np.repeat(total, np.diff(matrix.indptr))
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def in_numpy(source, matrix, encoding):
    """What the kernel replaces: a sparse product, statistics over time, and a cast. Returns z as well."""
    values = matrix.astype(np.float64) @ source.astype(np.float64)
    mean, std = values.mean(axis=1), values.std(axis=1)
    z = (values - mean[:, None]) / np.where(std > 0, std, 1)[:, None]
    stored = z
    if encoding.name == "int8":
        stored = np.clip(np.rint(z / encoding.scale), -127, 127)
    return stored.astype(encoding.dtype).T, mean, std, z.T


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    volumes=st.integers(5, 70),
    targets=st.integers(1, 150),
    baseline=st.sampled_from([0.0, 1.0, 10_000.0]),
)
@example(seed=0, volumes=921, targets=1500, baseline=10_000.0)
def test_a_run_in_blocks_equals_scipy_and_numpy(name, seed, volumes, targets, baseline):
    encoding, rng = ENCODINGS[name], np.random.default_rng(seed)
    matrix = random_weights(rng, targets, rows=60)
    source = (baseline + 150 * rng.standard_normal((60, volumes))).astype(np.float32)
    corners = Corners.of(matrix)
    # As in a shard: a row of the output is not a multiple of anything.
    out = np.zeros((volumes, targets * encoding.dtype.itemsize + 4), np.uint8)
    out = out[:, :-4].view(encoding.dtype)
    mean, std = np.zeros((2, targets), np.float32)
    size = max(1, targets // 3)  # a thread's share: part of a block, or several
    shares = [slice(first, first + size) for first in range(0, targets, size)]
    with ThreadPoolExecutor(2) as threads:
        clipped = sum(
            threads.map(
                lambda rows: convert_vertices(source, corners, rows, encoding, out, mean, std), shares
            )
        )
    expected, its_mean, its_std, z = in_numpy(source, matrix, encoding)
    inside = np.diff(matrix.indptr) > 0
    np.testing.assert_array_equal(corners.cortex, inside)
    assert np.isnan([mean[~inside], std[~inside]]).all()
    np.testing.assert_allclose(mean[inside], its_mean[inside], rtol=1e-6, atol=1e-4)
    # Of the float32 sum of three rows, of the mean's subtraction, and of the division by the s.d.
    rounding = 2 * EPS * (np.abs(its_mean) + its_std)[inside]
    assert (np.abs(std - its_std)[inside] <= rounding).all()
    z = z[:, inside]
    arithmetic = rounding / its_std[inside] * (1 + np.abs(z))
    stored = out[:, inside].astype(np.float64) * encoding.scale
    kept = np.abs(z) < encoding.largest
    assert (np.abs(stored - z) <= encoding.error_bound(z) + arithmetic + 6e-8)[kept].all()
    if name == "int8":
        steps = np.abs(out[:, inside].astype(int) - expected[:, inside])
        near_a_tie = np.abs(z / encoding.scale % 1 - 0.5) < arithmetic / encoding.scale
        assert (steps <= near_a_tie).all()
        assert (out[:, ~inside] == encoding.fill).all()
    else:
        assert np.isnan(out[:, ~inside]).all()
    assert clipped == np.count_nonzero(np.abs(np.rint(z * 16)) > 127) * (name == "int8")


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tr=st.sampled_from([0.8, 1.0, 1.49, 2.0]),
    columns=st.integers(0, 9),
    scrubbed=st.integers(0, 5),
    targets=st.integers(1, 150),
)
@example(seed=0, tr=1.49, columns=24, scrubbed=5, targets=1500)
def test_what_passes_to_rows_equals_scipy_and_numpy(name, seed, tr, columns, scrubbed, targets):
    encoding, rng, volumes = ENCODINGS[name], np.random.default_rng(seed), 90
    matrix = random_weights(rng, targets, rows=60)
    source = (1000 + 150 * rng.standard_normal((60, volumes))).astype(np.float32)
    kept = np.ones(volumes, bool)
    kept[rng.permutation(volumes)[:scrubbed]] = False
    timing = Timing.of(volumes, tr, 0.3 * (tr != 1), [Play(7.0)], seconds=80)
    counted = timing.codes(1, ~kept) > 0
    fit, basis = orthonormal(rng.standard_normal((volumes, columns)), kept)
    band = timing.band
    passage = Passage(fit.astype("f4"), basis.astype("f4"), band.first, band.weights, counted)
    out = np.zeros((len(timing.rows), targets), encoding.dtype)
    mean, std = np.zeros((2, targets), np.float32)
    corners = Corners.of(matrix)
    clipped = convert_vertices(source, corners, slice(None), encoding, out, mean, std, passage)

    inside = np.diff(matrix.indptr) > 0
    series = (matrix @ source.astype(float))[inside].T
    centred = series - series[kept].mean(axis=0)
    cleaned = series - basis.T @ (fit @ centred)
    rows = band.apply(cleaned)
    its_mean, its_std = rows[counted].mean(axis=0), rows[counted].std(axis=0)
    np.testing.assert_allclose(mean[inside], its_mean, rtol=1e-6)
    np.testing.assert_allclose(std[inside], its_std, rtol=1e-5)
    z = (rows - its_mean) / its_std
    error = np.abs(out[:, inside].astype(float) * encoding.scale - z)
    unclipped = np.abs(z) < encoding.largest
    assert (error <= encoding.error_bound(z) + 2e-5 * (1 + np.abs(z)))[unclipped].all()
    assert np.isnan([mean[~inside], std[~inside]]).all()
    assert clipped == np.count_nonzero(np.abs(z) > encoding.largest + encoding.scale / 2) * (name == "int8")


def one_row(series, name="int8"):
    """A hemisphere of a single vertex, which is its source's only row."""
    source = np.asarray(series, np.float32)[None]
    out, mean, std = np.empty((len(series), 1), ENCODINGS[name].dtype), np.empty(1, "f4"), np.empty(1, "f4")
    corners = Corners.of(csr_array(np.ones((1, 1), np.float32)))
    clipped = convert_vertices(source, corners, slice(0, 1), ENCODINGS[name], out, mean, std)
    return out[:, 0], mean[0], std[0], clipped


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_series_that_never_varies_is_zeros(name):
    stored, mean, std, clipped = one_row([7.0] * 30, name)
    assert (stored == 0).all()
    assert (mean, std, clipped) == (7, 0, 0)


def test_a_spike_is_clipped_and_counted():
    stored, _, std, clipped = one_row([*[0.0] * 99, 1.0])
    assert std == pytest.approx(np.sqrt(0.0099), rel=1e-6)
    assert (stored[-1], clipped) == (127, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_the_statistics(bad):
    _, mean, std, _ = one_row([1.0, bad, 2.0])
    assert not np.isfinite(mean + std)


def test_it_compiles_where_nothing_can_be_written(tmp_path):
    """Neither beside the module nor in the home folder: files stand in the way, of root too."""
    installed = Path(sys.modules["simdata.bold.conversion_kernel"].__file__).parents[1]
    shutil.copytree(installed, tmp_path / "simdata", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "simdata/bold/__pycache__").touch()
    code = """
import numpy as np, simdata.bold.conversion_kernel
out = np.empty(3, np.int8)
assert simdata.bold.conversion_kernel.encode(np.float32([0, 1, 99]), np.float32(16), out) == 1
assert out.tolist() == [0, 16, 127]
print(simdata.bold.conversion_kernel.__file__)
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": "/dev/null"}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(
        command, check=True, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert printed.stdout.strip() == str(tmp_path / "simdata/bold/conversion_kernel.py")


def test_a_second_process_finds_the_compiled_code(tmp_path):
    code = """
import numpy as np, simdata.bold.conversion_kernel as k
k.encode(np.zeros(3, np.float32), np.float32(16), np.empty(3, np.int8))
print(sum(k.encode.stats.cache_hits.values()))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    hits = [
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True).stdout
        for _ in range(2)
    ]
    assert [int(count) for count in hits] == [0, 1]
