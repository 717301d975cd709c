import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
from cifti_files import brain_models, noise, valid_vertices, write_dtseries
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis, SeriesAxis

from simdata.bold.cifti import open_dtseries
from simdata.common.errors import UserError


@pytest.mark.parametrize("density", ["32k", "59k"])
def test_blocks_are_the_files_own_rows(tmp_path, density):
    data = noise(density, volumes=5)
    path = write_dtseries(tmp_path / "run.dtseries.nii", data, density)
    series = open_dtseries(path)
    assert (series.volumes, series.tr, series.density) == (5, 1.0, density)
    assert series.grayordinates == data.shape[1]
    whole = nib.load(path).get_fdata(dtype=np.float32)
    cortices = dict(series.cortices())
    assert list(cortices) == ["L", "R"]
    for hemisphere, cortex in cortices.items():
        block = series.blocks[hemisphere]
        np.testing.assert_array_equal(block.vertices, valid_vertices(density, hemisphere))
        np.testing.assert_array_equal(cortex, whole.T[block.rows])
        # One contiguous stretch of the file, mapped: rows are vertices, time runs fastest.
        assert isinstance(cortex.base, np.memmap)
        assert cortex.flags.c_contiguous
        assert not cortex.flags.writeable


def compressed(plain, packed):
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    return packed


def test_compressed_files_are_read_too(tmp_path):
    plain = write_dtseries(tmp_path / "run.dtseries.nii", noise("32k", volumes=3))
    packed = compressed(plain, tmp_path / "packed.dtseries.nii.gz")
    expected = dict(open_dtseries(plain).cortices())
    for hemisphere, cortex in open_dtseries(packed).cortices():
        np.testing.assert_array_equal(cortex, expected[hemisphere])
    # Both hemispheres are there, and what comes after them is damaged.
    size = packed.stat().st_size
    for length in (size - 100, size // 2):
        with packed.open("r+b") as file:
            file.truncate(length)
        with pytest.raises(UserError, match="cannot be decompressed"):
            list(open_dtseries(packed).cortices())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["int16", ">f4", "float64"])
def test_scaled_and_other_types_are_in_scanner_units(tmp_path, suffix, dtype):
    plain = write_dtseries(tmp_path / "run.dtseries.nii", noise("32k", volumes=3))
    image = nib.Nifti2Image.from_filename(plain)
    values = np.asarray(image.dataobj)
    other = nib.Nifti2Image(values, None, image.header.copy(), dtype=dtype.lstrip(">"))
    if dtype == ">f4":
        swapped = image.header.as_byteswapped(">")
        swapped.extensions = image.header.extensions
        other = nib.Nifti2Image(values, None, swapped)
    path = tmp_path / "other.dtseries.nii"
    nib.save(other, path)
    header = nib.Nifti2Image.from_filename(path)
    assert header.get_data_dtype() == np.dtype(dtype)
    assert (header.dataobj.slope != 1) == (dtype == "int16")
    series = open_dtseries(compressed(path, path.with_suffix(".nii.gz")) if suffix else path)
    for hemisphere, cortex in series.cortices():
        rows = series.blocks[hemisphere].rows
        expected = np.asarray(header.dataobj)[0, 0, 0, 0].T[rows]
        assert cortex.dtype == np.dtype("float32")
        assert cortex.dtype.isnative
        np.testing.assert_allclose(cortex, expected, rtol=1e-6)


def test_a_file_cut_short_is_named_with_its_sizes(tmp_path):
    path = write_dtseries(tmp_path / "short.dtseries.nii", noise("32k", volumes=3))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1000)
    with pytest.raises(UserError, match=rf"short\.dtseries\.nii.*{size - 1000:,} of {size:,} bytes"):
        open_dtseries(path)


def test_a_header_cut_short_is_an_error(tmp_path):
    path = write_dtseries(tmp_path / "run.dtseries.nii", noise("32k", volumes=3))
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(UserError, match=r"extension of its header says it has [\d,]+ of 1,456 bytes"):
        open_dtseries(path)


def test_wrong_kinds_of_file_are_errors(tmp_path):
    (tmp_path / "text.dtseries.nii").write_text("not an image")
    with pytest.raises(UserError, match="cannot be read as CIFTI-2"):
        open_dtseries(tmp_path / "text.dtseries.nii")
    volume = nib.Nifti2Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    nib.save(volume, tmp_path / "volume.nii")
    with pytest.raises(UserError, match="is not CIFTI-2"):
        open_dtseries(tmp_path / "volume.nii")
    models = brain_models("32k")
    scalar = Cifti2Image(np.zeros((1, models.size), np.float32), header=(ScalarAxis(["x"]), models))
    nib.save(scalar, tmp_path / "map.dscalar.nii")
    with pytest.raises(UserError, match="is not a dense time series"):
        open_dtseries(tmp_path / "map.dscalar.nii")


def test_unknown_meshes_and_missing_hemispheres_are_errors(tmp_path):
    left = BrainModelAxis.from_surface(np.arange(100), 32_492, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    small = BrainModelAxis.from_surface(np.arange(100), 10_242, name="CIFTI_STRUCTURE_CORTEX_RIGHT")
    write_dtseries(tmp_path / "left.dtseries.nii", np.zeros((2, 100)), models=left)
    with pytest.raises(UserError, match="no CIFTI_STRUCTURE_CORTEX_RIGHT"):
        open_dtseries(tmp_path / "left.dtseries.nii")
    write_dtseries(tmp_path / "small.dtseries.nii", np.zeros((2, 200)), models=left + small)
    with pytest.raises(UserError, match=r"10,242 vertices; known are 59,292 \(59k\), 32,492 \(32k\)"):
        open_dtseries(tmp_path / "small.dtseries.nii")


def test_a_series_that_is_not_of_seconds_is_an_error(tmp_path):
    hertz = write_dtseries(tmp_path / "hertz.dtseries.nii", noise("32k", volumes=3), unit="HERTZ")
    with pytest.raises(UserError, match="its SeriesUnit is 'HERTZ', not SECOND"):
        open_dtseries(hertz)


@pytest.mark.templates
def test_a_real_hcp_header_is_understood(templates, tmp_path):
    models = nib.load(templates / "170494_Greyordinates.dscalar.nii").header.get_axis(1)
    series = SeriesAxis(0, 1, 2, "SECOND")
    path = tmp_path / "real.dtseries.nii"
    nib.save(Cifti2Image(np.zeros((2, models.size), np.float32), header=(series, models)), path)
    run = open_dtseries(path)
    assert run.grayordinates == 170_494
    assert run.density == "59k"
    assert [len(run.blocks[h].vertices) for h in "LR"] == [54_216, 54_225]
    for hemisphere in "LR":
        mask = nib.load(templates / f"{hemisphere}.atlasroi.59k_fs_LR.shape.gii").agg_data() > 0
        np.testing.assert_array_equal(run.blocks[hemisphere].vertices, np.flatnonzero(mask))
