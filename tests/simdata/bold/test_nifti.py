"""The file around a CIFTI matrix: lengths, types, scaling, compression, and what is no such file."""

import gzip
import os
import time

import nibabel as nib
import numpy as np
import pytest
from cifti_files import Small, noise, rewritten, write_dtseries

from simdata.bold.cifti import open_dtseries
from simdata.bold.formats import open_run
from simdata.common.errors import UserError

VOLUMES = 3


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return write_dtseries(folder / "run.dtseries.nii", noise("32k", VOLUMES))


def dimensions(*sizes):
    return {"dim": [len(sizes), *sizes, *[1] * (7 - len(sizes))]}


ROWS = 58_858  # of both hemispheres and 50 voxels
FIELDS = {
    "one row less": (dimensions(1, 1, 1, 1, VOLUMES, ROWS - 1), r"IndexOffset|goes on behind"),
    "one row more": (dimensions(1, 1, 1, 1, VOLUMES, ROWS + 1), "is cut short"),
    "one volume less": (dimensions(1, 1, 1, 1, VOLUMES - 1, ROWS), "NumberOfSeriesPoints 3|goes on behind"),
    "turned round": (dimensions(1, 1, 1, 1, ROWS, VOLUMES), "NumberOfSeriesPoints 3|IndexOffset"),
    "in 4-D": (dimensions(1, 1, VOLUMES, ROWS), "is not CIFTI-2, but a volume"),
    "five dimensions": (dimensions(1, 1, 1, 1, VOLUMES), "has dimensions 1 x 1 x 1 x 1 x 3;"),
    "seven dimensions": (dimensions(1, 1, 1, 1, VOLUMES, ROWS, 1), "has dimensions 1 x 1 x"),
    "below 0": (dimensions(1, 1, 1, 1, -VOLUMES, ROWS), "has dimensions"),
    "insane": (dimensions(1, 1, 1, 1, 2**62, 2**62), "is cut short|NumberOfSeriesPoints"),
    "99 dimensions": ({"dim": [99, 1, 1, 1, 1, 1, 1, 1]}, "has dimensions"),
    "complex": ({"datatype": 32, "bitpix": 64}, "holds complex64; save it as float32"),
    "colours": ({"datatype": 128, "bitpix": 24}, "holds RGB"),
    "long double": ({"datatype": 1536, "bitpix": 128}, "holds .*float128|datatype 1536"),
    "no type": ({"datatype": 9999}, "datatype 9999"),
    "another type's bits": ({"datatype": 64}, "bitpix 32 for values of float64"),
    "slope of infinity": ({"scl_slope": np.inf}, "scl_slope inf"),
    "intercept of nan": ({"scl_slope": 2, "scl_inter": np.nan}, "scl_inter nan"),
    "data in the header": ({"vox_offset": 100}, "vox_offset 100"),
    "data far away": ({"vox_offset": 2**60}, "vox_offset 1,152"),
    "data 16 bytes early": ({"vox_offset": 2**10}, "an extension of its header says"),
    "another magic": ({"magic": b"ni2"}, "does not begin as NIfTI-2 does"),
    "line ends": ({"eol_check": [10, 26, 10, 0]}, "changed on its way"),
    "NIfTI-1": ({"sizeof_hdr": 348}, "is NIfTI-1, not CIFTI-2"),
    "no size": ({"sizeof_hdr": 0}, "does not begin as NIfTI-2 does"),
    "another extension": ({"extension": (4000, 6)}, r"is not CIFTI-2 \(no CIFTI header\)|extension of its"),
    "code of another": ({"extension": None, "code": 30}, r"is not CIFTI-2 \(no CIFTI header\)"),
    "extension of 2 GB": ({"extension": (2**31 - 1, 32)}, "says it has 2,147,483,647 of"),
    "extension below 0": ({"extension": (-16, 32)}, "says it has -16 of"),
    "extension of 0": ({"extension": (0, 32)}, "says it has 0 of"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("case", FIELDS)
def test_headers_that_are_not_the_files_own_are_refused(good, tmp_path, case, suffix):
    fields, message = FIELDS[case]
    fields = dict(fields)
    if code := fields.pop("code", None):
        size = int(np.frombuffer(good.read_bytes()[544:548], "<i4")[0])
        fields["extension"] = size, code
    path = rewritten(good, tmp_path / "bad.dtseries.nii", **fields)
    if suffix:
        packed = gzip.compress(path.read_bytes(), compresslevel=1)
        path = path.with_suffix(".nii.gz")
        path.write_bytes(packed)
        message += "|IndexOffset|models of|extension of"  # its length is known in the end alone
    with pytest.raises(UserError, match=rf"bad\.dtseries\.nii.*: .*({message})"):
        list(open_dtseries(path).cortices())


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_order_and_scaling_is_read_as_by_nibabel(tmp_path, small, dtype):
    for order in "<>":
        values = np.random.default_rng(0).integers(0, 100, (small.rows, VOLUMES)).astype(order + dtype)
        for scaling in [(0, 0), (0, 7), (np.nan, 0), (1, 0), (0.25, -3), (-2, 1e4)]:
            path = small.write(tmp_path / "run.dtseries.nii", values, scaling)
            expected = np.asarray(nib.load(path).dataobj).T
            series = open_dtseries(path)
            for hemisphere, cortex in series.cortices():
                assert cortex.dtype == np.float32
                np.testing.assert_allclose(cortex, expected[series.blocks[hemisphere].rows], rtol=1e-6)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Small(tmp_path_factory.mktemp("small"), VOLUMES)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo.dtseries.nii")
    (tmp_path / "folder.dtseries.nii").mkdir()
    (tmp_path / "empty.dtseries.nii").touch()
    (tmp_path / "empty.dtseries.nii.gz").touch()
    (tmp_path / "device.dtseries.nii").symlink_to("/dev/zero")
    (tmp_path / "loop.dtseries.nii").symlink_to("loop.dtseries.nii")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 6
    for path in [*paths, tmp_path / "missing.dtseries.nii"]:
        with pytest.raises(UserError, match=str(path)):
            open_dtseries(path)


@pytest.mark.parametrize("change", ["short", "longer", "named wrongly", "not compressed", "two", "checksum"])
def test_compressed_files_that_are_not_whole_are_refused(good, tmp_path, change):
    content, path = good.read_bytes(), tmp_path / "run.dtseries.nii.gz"
    packed = gzip.compress(content, compresslevel=1)
    if change == "short":
        packed, message = gzip.compress(content[:-100], compresslevel=1), "is cut short"
    elif change == "longer":
        packed, message = gzip.compress(content + bytes(2**24), compresslevel=1), "goes on behind"
    elif change == "named wrongly":
        path, message = tmp_path / "run.dtseries.nii", r"is compressed; give it a name that ends in \.nii\.gz"
    elif change == "not compressed":
        packed, message = content, "cannot be decompressed"
    elif change == "two":
        packed, message = packed + b"garbage", "cannot be decompressed"
    else:
        packed, message = packed[:-8] + bytes(4) + packed[-4:], "cannot be decompressed"
    path.write_bytes(packed)
    with pytest.raises(UserError, match=rf"run\.dtseries\.nii.*: {message}"):
        list(open_dtseries(path).cortices())


def test_a_file_that_unpacks_without_end_is_left_soon(good, tmp_path):
    path = tmp_path / "run.dtseries.nii.gz"
    endless = gzip.compress(bytes(2**26), compresslevel=9) * 64  # 4 GB in 4 MB
    path.write_bytes(gzip.compress(good.read_bytes(), compresslevel=1) + endless)
    began = time.perf_counter()
    with pytest.raises(UserError, match="goes on behind"):
        list(open_dtseries(path).cortices())
    assert time.perf_counter() - began < 5


def test_a_plain_file_with_more_behind_it_is_refused(good, tmp_path):
    path = tmp_path / "run.dtseries.nii"
    path.write_bytes(good.read_bytes() + bytes(16))
    with pytest.raises(UserError, match=r"goes on behind the [\d,]+ bytes"):
        open_dtseries(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-1_task-movie_bold.nii.gz", r"is NIfTI-1, not CIFTI-2\. A run"),
        ("sub-1_task-movie_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "in MNI space, where a voxel"),
    ],
)
def test_a_volume_is_refused_with_what_makes_a_surface_of_it(tmp_path, name, reason):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: .*{reason}.*--cifti-output 91k"):
        open_run(tmp_path / name)
