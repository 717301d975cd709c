"""Runs that are no BOLD in part: what is refused, and what is outside a run's own coverage."""

import gzip
import subprocess

import nibabel as nib
import numpy as np
import pytest
from cifti_files import noise, valid_vertices, write_dtseries
from conversions import VOLUMES, convert, stored

from simdata.bold.run_values import ranges
from simdata.common.errors import UserError
from simdata.surface.meshes import fs_lr_sphere, icosphere
from simdata.surface.resampling import cortex_weights

LEFT = len(valid_vertices("32k", "L"))


@pytest.fixture(scope="module")
def data():
    return noise("32k", VOLUMES)


def written(tmp_path, data, name="run.dtseries.nii"):
    return write_dtseries(tmp_path / name, data)


def volumes_of(data, volumes, values, columns=slice(None)):
    changed = data.copy()
    changed[volumes, columns] = values
    return changed


VOLUME_CASES = {
    "zeros": (lambda d: volumes_of(d, [3, 4, 5, 9], 0), "volumes 3-5, 9 of L .* have one value everywhere"),
    "one value": (lambda d: volumes_of(d, [0], 123.0), "volumes 0 of L .* have one value"),
    "zeros in the right half": (
        lambda d: volumes_of(d, [39], 0, slice(LEFT, None)),
        "volumes 39 of R .* have one value",
    ),
    "frozen at the end": (
        lambda d: volumes_of(d, slice(35, 40), d[35]),
        "volumes 36-39 of L .* repeat the volume",
    ),
    "one repeated": (lambda d: volumes_of(d, [8], d[7]), "volumes 8 of L .* repeat the volume"),
    "NaN": (lambda d: volumes_of(d, [2, 3], np.nan), "volumes 2-3 of L .* are NaN everywhere"),
    "zeros where others are NaN or constant": (
        lambda d: volumes_of(
            volumes_of(volumes_of(d, [1], np.nan, slice(0, 9000, 3)), slice(None), 5.0, [1, 2, 4, 5, 7]),
            [6],
            0.0,
            slice(8, None),
        ),
        "volumes 6 of L .* have one value",
    ),
}


@pytest.mark.parametrize("case", VOLUME_CASES)
def test_volumes_without_a_picture_are_named(tmp_path, data, case):
    change, message = VOLUME_CASES[case]
    with pytest.raises(UserError, match=rf"run\.dtseries\.nii: {message}"):
        convert(written(tmp_path, change(data)), tmp_path)


def test_volumes_that_only_look_alike_pass(tmp_path, data):
    """All but one vertex of a volume are zero, and all but one of another are as before."""
    changed = volumes_of(
        volumes_of(data, [3], 0, slice(1, LEFT)), [9], data[8, : LEFT - 1], slice(0, LEFT - 1)
    )
    assert convert(written(tmp_path, changed), tmp_path).provenance["constant_vertices"] == 0


@pytest.mark.parametrize("kind", ["f4", "i2"])
@pytest.mark.parametrize("compressed", [False, True])
def test_holes_of_any_place_in_a_file_are_refused(tmp_path, data, kind, compressed):
    """A preallocated download: bytes that never came are zeros."""
    path = written(tmp_path, data)
    if kind == "i2":
        image = nib.Nifti2Image.from_filename(path)
        values = np.asarray(image.dataobj).astype(np.int16)
        nib.save(nib.Nifti2Image(values, None, image.header, dtype="i2"), path)
    content, size = path.read_bytes(), np.dtype(kind).itemsize
    offset = nib.Nifti2Image.from_filename(path).dataobj.offset
    rng = np.random.default_rng(0)
    for _ in range(6):
        row, length = int(rng.integers(10, 20_000)), int(rng.integers(1, 5000))
        begin, stop = offset + (row * VOLUMES + 20) * size, offset + ((row + length) * VOLUMES + 17) * size
        holed = content[:begin] + bytes(stop - begin) + content[stop:]
        source = tmp_path / f"holed.dtseries.nii{'.gz' * compressed}"
        source.write_bytes(gzip.compress(holed, compresslevel=1) if compressed else holed)
        with pytest.raises(
            UserError, match=r"2 vertices of L have one value for part of the run .* a hole that"
        ):
            convert(source, tmp_path)


def test_a_row_that_stands_still_for_long_is_refused(tmp_path, data):
    with pytest.raises(UserError, match=r"7 vertices of L .*row 50 ends with 20 volumes of 9000"):
        convert(written(tmp_path, volumes_of(data, slice(20, None), 9000, slice(50, 57))), tmp_path)


@pytest.mark.parametrize("encoding", ["int8", "float16"])
def test_vertices_without_data_are_outside_the_runs_own_coverage(tmp_path, data, encoding):
    """As if the file did not list them."""
    rng = np.random.default_rng(1)
    bad = rng.permutation(LEFT)[: LEFT // 8]
    never, nan, infinite = bad[::3], bad[1::3], bad[2::3]
    changed = volumes_of(data, slice(None), 17.0, never)
    changed[rng.integers(VOLUMES, size=len(nan)), nan] = np.nan
    changed[rng.integers(VOLUMES, size=len(infinite)), infinite] = np.inf
    converted = convert(written(tmp_path, changed), tmp_path, encoding)
    kept = np.setdiff1d(np.arange(LEFT), bad)
    weights = cortex_weights("32k", "L", valid_vertices("32k", "L")[kept]).astype(np.float64)
    expected, inside = weights @ data.T[kept].astype(np.float64), np.diff(weights.indptr) > 0
    np.testing.assert_array_equal(converted.cortex[0], inside)
    np.testing.assert_allclose(converted.mean[0, inside], expected.mean(axis=1)[inside], rtol=1e-6)
    assert np.isnan(converted.mean[0, ~inside]).all()
    assert np.isnan(converted.std[0, ~inside]).all()
    values = stored(converted, encoding)[0]
    outside = values[:, ~inside]
    assert (outside == -128).all() if encoding == "int8" else np.isnan(outside).all()
    assert (values[:, inside] != -128).all()
    assert np.isfinite(values[:, inside].astype(float)).all()
    found = converted.provenance
    assert (found["constant_vertices"], found["nan_vertices"]) == (len(never), len(nan) + len(infinite))
    assert found["coverage"] == {"L": int(inside.sum()), "R": int(converted.cortex[1].sum())}


def test_what_is_left_of_a_triangle_is_what_workbench_leaves(wb_command, tmp_path, data):
    """Its -current-roi says which vertices have data."""
    vertices = valid_vertices("32k", "L")
    bad = np.random.default_rng(2).permutation(LEFT)[: LEFT // 10]
    converted = convert(written(tmp_path, volumes_of(data, slice(None), 1.0, bad)), tmp_path, "float32")
    roi, metric = np.zeros((2, 32_492), np.float32)
    roi[np.delete(vertices, bad)] = 1
    metric[vertices] = data[3, :LEFT]
    for name, mesh in (("from", fs_lr_sphere("32k", "L")), ("to", icosphere(6))):
        arrays = [
            nib.gifti.GiftiDataArray(part.astype(dtype), intent)
            for part, dtype, intent in zip(
                mesh, ("f4", "i4"), ("NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE"), strict=True
            )
        ]
        arrays[0].meta = nib.gifti.GiftiMetaData(
            AnatomicalStructurePrimary="CortexLeft", GeometricType="Spherical"
        )
        nib.save(nib.GiftiImage(darrays=arrays), tmp_path / f"{name}.surf.gii")
    for name, values in (("roi", roi), ("metric", metric)):
        nib.save(nib.GiftiImage(darrays=[nib.gifti.GiftiDataArray(values)]), tmp_path / f"{name}.func.gii")
    names = ("metric.func", "from.surf", "to.surf")
    places = [tmp_path / f"{name}.gii" for name in names]
    command = [wb_command, "-metric-resample", *places, "BARYCENTRIC", tmp_path / "out.func.gii"]
    command += ["-current-roi", tmp_path / "roi.func.gii", "-valid-roi-out", tmp_path / "valid.func.gii"]
    subprocess.run(command, check=True, capture_output=True)
    out, valid = (nib.load(tmp_path / f"{name}.func.gii").agg_data() for name in ("out", "valid"))
    inside = converted.cortex[0]
    assert np.count_nonzero(inside != (valid > 0)) <= 3, "of a vertex on an edge either may be right"
    both = inside & (valid > 0)
    ours = stored(converted, "float32")[0][3] * converted.std[0] + converted.mean[0]
    difference = np.abs(ours - out)[both]
    assert np.count_nonzero(difference > 1) <= 3
    assert np.median(difference) < 0.01


@pytest.mark.parametrize("value", [5.0, np.nan])
def test_too_little_cortex_is_refused(tmp_path, data, value):
    message = r"of R (never change|have NaN).*: 499 have data, and a run needs 500"
    with pytest.raises(UserError, match=message):
        convert(written(tmp_path, volumes_of(data, slice(None), value, slice(LEFT + 499, None))), tmp_path)
    enough = convert(
        written(tmp_path, volumes_of(data, slice(None), value, slice(LEFT + 500, None))), tmp_path
    )
    assert enough.cortex[1].sum() < 2000


def test_ranges_are_words():
    assert ranges([3]) == "3"
    assert ranges([3, 4, 5, 9, 11, 12]) == "3-5, 9, 11-12"
    assert ranges(list(range(0, 40, 2))).endswith("18 and 10 more ranges")
