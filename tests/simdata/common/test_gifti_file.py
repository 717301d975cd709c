"""GIFTI as nibabel and Workbench write it, and some hundred broken files: read as it does, or refused."""

import base64
import re
import subprocess
import sys
import zlib

import nibabel as nib
import numpy as np
import pytest
from gifti_files import save_series, save_surface

from simdata.common.errors import UserError
from simdata.common.gifti_file import read_arrays, read_head
from simdata.surface.meshes import icosphere

VERTICES, VOLUMES = 50, 4
ENCODINGS = ("GIFTI_ENCODING_ASCII", "GIFTI_ENCODING_B64BIN", "GIFTI_ENCODING_B64GZ")


def values_of(dtype="<f4"):
    rng = np.random.default_rng(0)
    return (1000 * rng.standard_normal((VERTICES, VOLUMES))).astype(dtype)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {
        encoding: save_series(folder / f"{encoding}.func.gii", values_of(), "L", encoding=encoding)
        for encoding in ENCODINGS
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i4", "<u1", "<i2"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_values_are_as_nibabel_reads_them(tmp_path, encoding, dtype, endian):
    how = {"encoding": encoding, "endian": f"GIFTI_ENDIAN_{endian}"}
    path = save_series(tmp_path / "a.func.gii", values_of(dtype), "R", tr=1.5, **how)
    head = read_head(path)
    assert (head.arrays, head.first.shape, head.first.intent) == (VOLUMES, (VERTICES,), "TIME_SERIES")
    assert head.metadata == {"AnatomicalStructurePrimary": "CortexRight"}
    assert head.first.metadata == {"TimeStep": "1.500000"}
    for (_, ours), array in zip(read_arrays(path), nib.load(path).darrays, strict=True):
        np.testing.assert_array_equal(ours, array.data)


@pytest.mark.workbench
@pytest.mark.parametrize("encoding", ["ASCII", "BASE64_BINARY", "GZIP_BASE64_BINARY", "EXTERNAL_FILE_BINARY"])
def test_workbenchs_files_are_read(good, wb_command, tmp_path, encoding):
    path = tmp_path / "run.func.gii"
    convert = [wb_command, "-gifti-convert", encoding, good["GIFTI_ENCODING_B64GZ"], path]
    subprocess.run(convert, check=True, capture_output=True)
    for (_, ours), volume in zip(read_arrays(path), values_of().T, strict=True):
        np.testing.assert_allclose(ours, volume, rtol=1e-5)
    if encoding == "EXTERNAL_FILE_BINARY":
        beside = next(file for file in tmp_path.iterdir() if file != path)
        content = path.read_text()
        path.write_text(content.replace(beside.name, f"../{beside.name}"))
        with pytest.raises(UserError, match=r"its values are in '\.\./.*, which is no file beside it"):
            list(read_arrays(path))
        path.write_text(content)
        beside.write_bytes(beside.read_bytes()[:-8])
        with pytest.raises(UserError, match="48 values, or bytes of them, for 50"):
            list(read_arrays(path))


def test_a_surface_and_column_major_order(tmp_path):
    vertices, faces = icosphere(2)
    path = save_surface(tmp_path / "a.surf.gii", vertices, faces, "L")
    points, triangles = (values for _, values in read_arrays(path))
    np.testing.assert_array_equal(points, vertices.astype("f4"))
    np.testing.assert_array_equal(triangles, faces)
    turned = path.read_text().replace("RowMajorOrder", "ColumnMajorOrder")
    path.write_text(turned)
    points, _ = (values for _, values in read_arrays(path))
    np.testing.assert_array_equal(points, nib.load(path).darrays[0].data)


BROKEN = {
    'NumberOfDataArrays="4"': ('NumberOfDataArrays="5"', "4 data arrays, and NumberOfDataArrays 5"),
    ' NumberOfDataArrays="4"': ("", "NumberOfDataArrays '' of the file, which is no whole number"),
    'Dim0="50"': ('Dim0="49"', "50 data|more than|other than the 196 bytes"),
    'DataType="NIFTI_TYPE_FLOAT32"': ('DataType="NIFTI_TYPE_RGB24"', "holds rgb24; save it as float32"),
    'Encoding="GZipBase64Binary"': ('Encoding="Zip"', "Encoding 'Zip'; known are ASCII"),
    'Endian="LittleEndian"': ('Endian="Middle"', "Endian 'Middle'"),
    "</GIFTI>": ("", "cannot be read as GIFTI .*no element found"),
    "<Data>": ("<Data>!", "cannot be read as GIFTI"),
    "<GIFTI": ("<CARET", "is not GIFTI .its XML is of 'CARET'|mismatched"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_named(good, tmp_path, what):
    path = tmp_path / "a.func.gii"
    instead, message = BROKEN[what]
    text = good["GIFTI_ENCODING_B64GZ"].read_text()
    assert what in text
    path.write_text(text.replace(what, instead, 1))
    with pytest.raises(UserError, match=rf"a\.func\.gii: .*(?:{message})"):
        list(read_arrays(path))


def test_more_arrays_than_a_file_can_have_are_seen_at_once(good, tmp_path):
    text = good["GIFTI_ENCODING_B64GZ"].read_text()
    (path := tmp_path / "a.func.gii").write_text(text.replace('Arrays="4"', 'Arrays="400000000"'))
    with pytest.raises(UserError, match="NumberOfDataArrays 400,000,000, for which it is too short"):
        read_head(path)


def test_text_that_is_no_gifti(tmp_path):
    for content in (b"", b"\0" * 100, b"<html></html>", b"<GIFTI NumberOfDataArrays='0'></GIFTI>"):
        (path := tmp_path / "a.func.gii").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.func\.gii: (cannot be read as|is not|its GIFTI has no)"):
            read_head(path)


ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
LARGE = {
    "entities": f'<!DOCTYPE GIFTI [<!ENTITY e0 "ha">{ENTITIES}]><GIFTI NumberOfDataArrays="&e11;"/>',
    "dimension": '<GIFTI NumberOfDataArrays="1">{head}Dimensionality="1" Dim0="999999999999"><Data>',
    "many": '<GIFTI NumberOfDataArrays="999999999">{head}Dimensionality="1" Dim0="4194305"><Data>AA==</Data>',
    "compressed": '<GIFTI NumberOfDataArrays="1">{head}Dimensionality="1" Dim0="10"><Data>{bomb}</Data>',
    "text": '<GIFTI NumberOfDataArrays="1">{head}Dimensionality="1" Dim0="10"><Data>{long}</Data>',
    "attribute": '<GIFTI NumberOfDataArrays="{long}">',
    "metadata": '<GIFTI NumberOfDataArrays="1"><MetaData><MD><Name>a</Name><Value>{long}</Value>',
    "deep": '<GIFTI NumberOfDataArrays="1">' + "<MetaData>" * 100_000,
    "names": '<GIFTI NumberOfDataArrays="1"><MetaData>{names}',
}
HEAD = (
    '<DataArray Intent="NIFTI_INTENT_TIME_SERIES" DataType="NIFTI_TYPE_FLOAT32" Encoding="GZipBase64Binary" '
    'Endian="LittleEndian" ArrayIndexingOrder="RowMajorOrder" '
)
READ = """
import sys
from pathlib import Path
from simdata.common.gifti_file import read_arrays
from simdata.common.errors import UserError

def peak():  # kB; not getrusage, which begins with that of the process before
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak()
try:
    list(read_arrays(Path(sys.argv[1])))
except UserError as error:
    print(error)
print(peak() - before)
"""


@pytest.mark.parametrize("what", LARGE)
def test_what_would_grow_without_end_is_refused_in_little_memory(tmp_path, what):
    path = tmp_path / "a.func.gii"
    text = LARGE[what]
    if "{" in text:
        parts = {"head": HEAD, "long": "A" * 80_000_000}
        parts["bomb"] = base64.b64encode(zlib.compress(b"\0" * 500_000_000)).decode()
        parts["names"] = "".join(f"<MD><Name>{i}</Name><Value>v</Value></MD>" for i in range(400_000))
        text = text.format(**{name: part for name, part in parts.items() if f"{{{name}}}" in text})
    path.write_text(text)
    told = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    message, kilobytes = told.stdout.splitlines()
    assert message.startswith(f"{path}: ")
    assert int(kilobytes) < 400_000


def some_bit(rng, content):
    place = int(rng.integers(len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]


def some_attribute(rng, content):
    found = list(re.finditer(rb'="([^"]*)"', content))
    one = found[int(rng.integers(len(found)))]
    value = rng.choice([b"", b"-1", b"0", b"7", b"1e9", b"99999999999999999999", b"nan", b"x", b"4294967296"])
    return content[: one.start(1)] + value + content[one.end(1) :]


def some_element(rng, content):
    found = list(re.finditer(rb"</?[A-Za-z]+[^>]*>", content))
    one = found[int(rng.integers(len(found)))]
    return content[: one.start()] + (one[0] * 2 if rng.random() < 0.3 else b"") + content[one.end() :]


def some_end(rng, content):
    return content[: int(rng.integers(len(content)))]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("spoil", [some_bit, some_attribute, some_element, some_end])
def test_each_broken_file_is_right_or_refused_by_name(good, tmp_path, encoding, spoil):
    path, content = tmp_path / "a.func.gii", good[encoding].read_bytes()
    refused = []
    for seed in range(60):
        path.write_bytes(spoil(np.random.default_rng([seed, ENCODINGS.index(encoding)]), content))
        try:
            ours = [values for _, values in read_arrays(path)]
            read_head(path)
        except UserError as error:
            refused.append(str(error))
            continue
        try:
            theirs = [array.data for array in nib.load(path).darrays]
        except Exception:  # it reads what was spoiled, and ours needs nothing of that
            theirs = list(values_of().T)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other.reshape(one.shape), rtol=1e-5)
    assert refused
    assert all(str(path) in message for message in refused)


def test_memory_of_a_long_series_is_that_of_an_array(tmp_path):
    values = np.random.default_rng(0).standard_normal((40_962, 150)).astype("f4")
    path = save_series(tmp_path / "long.func.gii", values, "L")
    code = READ.replace("list(read_arrays(Path(sys.argv[1])))", "[0 for _ in read_arrays(Path(sys.argv[1]))]")
    told = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 12_000  # kB; all arrays have 25 MB
