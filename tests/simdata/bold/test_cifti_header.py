"""Headers that contradict themselves or the data: each is a message with the file, the field and its value.

Files are made by editing the XML of a good one.
"""

import re
import subprocess
import time
from itertools import pairwise

import numpy as np
import pytest
from cifti_files import noise, rewritten, write_dtseries

from simdata.bold.cifti import open_dtseries
from simdata.common.errors import UserError

VOLUMES = 3
LEFT, RIGHT = b"CIFTI_STRUCTURE_CORTEX_LEFT", b"CIFTI_STRUCTURE_CORTEX_RIGHT"
SERIES, MODELS = b"CIFTI_INDEX_TYPE_SERIES", b"CIFTI_INDEX_TYPE_BRAIN_MODELS"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return write_dtseries(folder / "run.dtseries.nii", noise("32k", VOLUMES))


def model(xml, structure):
    """Start and stop of a brain model's element."""
    place = xml.index(structure)
    return xml.rindex(b"<BrainModel", 0, place), xml.index(b"</BrainModel>", place) + len(b"</BrainModel>")


def within(structure, pattern, replacement):
    """An edit of one brain model."""

    def edit(xml):
        start, stop = model(xml, structure)
        changed, count = re.subn(pattern, replacement, xml[start:stop], count=1)
        assert count, pattern
        return xml[:start] + changed + xml[stop:]

    return edit


def everywhere(pattern, replacement):
    def edit(xml):
        changed, count = re.subn(pattern, replacement, xml)
        assert count, pattern
        return changed

    return edit


def attribute(name, value):
    return everywhere(rb'%s="[^"]*"' % name, b'%s="%s"' % (name, value))


def without(name):
    return everywhere(rb' %s="[^"]*"' % name, b"")


def of_model(name, value, structure=RIGHT):
    return within(structure, rb'%s="[^"]*"' % name, b'%s="%s"' % (name, value))


def doubled(xml):
    """The left cortex twice."""
    start, stop = model(xml, LEFT)
    return xml[:stop] + xml[start:stop] + xml[stop:]


def without_left(xml):
    start, stop = model(xml, LEFT)
    return xml[:start] + xml[stop:]


def entities(xml):
    """Each ten times the one before: a thousand million letters."""
    names = b"abcdefghij"
    lines = [b'<!ENTITY a "aaaaaaaaaa">']
    for before, name in pairwise(names):
        lines.append(b'<!ENTITY %c "%s">' % (name, b"&%c;" % before * 10))
    return (
        b"<!DOCTYPE CIFTI ["
        + b"".join(lines)
        + b"]>"
        + xml.replace(b"<VertexIndices>", b"<VertexIndices>&j;")
    )


# 29,5xx vertices a hemisphere and 50 voxels; what is edited, and what must be said of it.
CASES = {
    "offset beyond the matrix": (of_model(b"IndexOffset", b"99999"), "IndexOffset 99,999 .*RIGHT"),
    "offset of 18 digits": (of_model(b"IndexOffset", b"9" * 18), "IndexOffset 999,999,999,999,999,999 "),
    "offset of 30 digits": (of_model(b"IndexOffset", b"9" * 30), "IndexOffset '9{30}' .*no whole number"),
    "offset below 0": (of_model(b"IndexOffset", b"-5"), "IndexOffset -5 .*RIGHT"),
    "offset that overlaps": (of_model(b"IndexOffset", b"100"), "IndexOffset 100 .*RIGHT.*LEFT overlap"),
    "both begin at 0": (of_model(b"IndexOffset", b"0"), "IndexOffset 0 .* overlap"),
    "offset that leaves a gap": (
        within(RIGHT, rb'IndexOffset="(\d+)(\d)"', rb'IndexOffset="\g<1>9"'),
        "IndexOffset .* (leave a gap|overlap|rows up to)",
    ),
    "count below 0": (of_model(b"IndexCount", b"-1"), "IndexCount -1 .*RIGHT"),
    "count of too few": (of_model(b"IndexCount", b"7"), r"[\d,]+ vertex indices for 7 rows of .*RIGHT"),
    "count of too many": (of_model(b"IndexCount", b"60000"), "IndexCount 60,000 .*RIGHT"),
    "count missing": (within(RIGHT, rb' IndexCount="[^"]*"', b""), "no IndexCount of .*RIGHT"),
    "count in words": (of_model(b"IndexCount", b"many"), "IndexCount 'many' .*no whole number"),
    "count with a fraction": (of_model(b"IndexCount", b"29.5"), r"IndexCount '29\.5' .*no whole number"),
    "vertex twice": (
        within(LEFT, rb"<VertexIndices>(\d+) (\d+) ", rb"<VertexIndices>\1 \1 "),
        "vertex .* twice",
    ),
    "vertex below 0": (within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>-1 "), "with '-1' of .*LEFT"),
    "vertex beyond the mesh": (
        within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>32492 "),
        "vertex 32,492 of .*LEFT, whose SurfaceNumberOfVertices is 32,492",
    ),
    "vertex of 20 digits": (
        within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>%s " % (b"1" * 20)),
        "vertex 9,223,372,036,854,775,807 of .*LEFT",
    ),
    "vertex with a letter": (within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>1o "), "with '1o'"),
    "vertex with a point": (within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>1.5 "), r"with '1\.5'"),
    "vertex left out": (within(LEFT, rb"<VertexIndices>(\d+) ", b"<VertexIndices>"), "vertex indices for"),
    "no vertices": (
        within(LEFT, rb"(?s)<VertexIndices>.*</VertexIndices>", b""),
        "0 VertexIndices of .*LEFT",
    ),
    "voxel beyond the volume": (
        within(b"THALAMUS_LEFT", rb"<VoxelIndicesIJK>\d+ ", b"<VoxelIndicesIJK>99 "),
        r"voxel \[99, .*THALAMUS",
    ),
    "voxel left out": (
        within(b"THALAMUS_LEFT", rb"IJK>\d+\s\d+\s\d+\s", b"IJK>"),
        "49 voxel indices for 50 rows",
    ),
    "no volume": (attribute(b"VolumeDimensions", b"20,20"), "VolumeDimensions '20,20'"),
    "model of another type": (
        of_model(b"ModelType", b"CIFTI_MODEL_TYPE_X"),
        "ModelType 'CIFTI_MODEL_TYPE_X'",
    ),
    "two left cortices": (everywhere(RIGHT, LEFT), "two surfaces of .*LEFT"),
    "a model written twice": (doubled, "two surfaces of .*LEFT"),
    "no left cortex": (everywhere(LEFT, b"CIFTI_STRUCTURE_CORTEX"), "has no CIFTI_STRUCTURE_CORTEX_LEFT"),
    "a gap for a left cortex": (without_left, "IndexOffset [0-9,]+ of .*RIGHT.* leave a gap"),
    "mesh unknown": (
        everywhere(rb'SurfaceNumberOfVertices="\d+"', b'SurfaceNumberOfVertices="40962"'),
        "mesh of 40,962 vertices; known are",
    ),
    "meshes of two kinds": (of_model(b"SurfaceNumberOfVertices", b"59292"), "on different meshes"),
    "mesh not stated": (
        within(LEFT, rb' SurfaceNumberOfVertices="\d+"', b""),
        "no SurfaceNumberOfVertices of .*LEFT",
    ),
    "points that are not the data's": (
        attribute(b"NumberOfSeriesPoints", b"4"),
        "NumberOfSeriesPoints 4, and the data have 3 volumes",
    ),
    "points missing": (without(b"NumberOfSeriesPoints"), "no NumberOfSeriesPoints of the series"),
    "exponent missing": (without(b"SeriesExponent"), "no SeriesExponent"),
    "exponent in words": (attribute(b"SeriesExponent", b"zero"), "SeriesExponent 'zero'"),
    "exponent of 999999": (attribute(b"SeriesExponent", b"999999"), "SeriesExponent 999999, which is no TR"),
    "exponent of -400": (attribute(b"SeriesExponent", b"-400"), "SeriesExponent -400, which is no TR"),
    "step missing": (without(b"SeriesStep"), "no SeriesStep"),
    "step of nan": (attribute(b"SeriesStep", b"nan"), "SeriesStep 'nan'"),
    "step of inf": (attribute(b"SeriesStep", b"1e999"), "SeriesStep '1e999'"),
    "step of 0": (attribute(b"SeriesStep", b"0"), "SeriesStep 0 .*which is no TR"),
    "step below 0": (attribute(b"SeriesStep", b"-1"), "SeriesStep -1 .*which is no TR"),
    "start missing": (without(b"SeriesStart"), "no SeriesStart"),
    "start in words": (attribute(b"SeriesStart", b"now"), "SeriesStart 'now'"),
    "start in a week": (attribute(b"SeriesStart", b"604800"), "SeriesStart 604800 s, which is more than a"),
    "unit missing": (without(b"SeriesUnit"), "no SeriesUnit"),
    "unit of frequency": (attribute(b"SeriesUnit", b"HERTZ"), "SeriesUnit is 'HERTZ', not SECOND"),
    "unit of another word": (attribute(b"SeriesUnit", b"MSEC"), "SeriesUnit is 'MSEC', not SECOND"),
    "axes turned round": (
        lambda xml: xml.replace(SERIES, b"?").replace(MODELS, SERIES).replace(b"?", MODELS),
        r"BRAIN_MODELS x CIFTI_INDEX_TYPE_SERIES\); turn it with `wb_command -cifti-transpose`",
    ),
    "scalars": (everywhere(SERIES, b"CIFTI_INDEX_TYPE_SCALARS"), "not a dense time series .*SCALARS"),
    "labels": (everywhere(SERIES, b"CIFTI_INDEX_TYPE_LABELS"), "not a dense time series .*LABELS"),
    "parcels": (everywhere(MODELS, b"CIFTI_INDEX_TYPE_PARCELS"), "not a dense time series .*PARCELS"),
    "connectivity": (everywhere(SERIES, MODELS), "not a dense time series"),
    "no axis of time": (
        attribute(b"MatrixIndicesMap AppliesToMatrixDimension", b"1"),
        "AppliesToMatrixDimension '1', a second time",
    ),
    "an axis of a third kind": (
        everywhere(rb'Dimension="0"', b'Dimension="2"'),
        "AppliesToMatrixDimension '2', which a dense series has not",
    ),
    "one axis for all": (
        lambda xml: xml[: xml.index(b"<MatrixIndicesMap")] + xml[xml.rindex(b"<MatrixIndicesMap") :],
        "no MatrixIndicesMap for dimension 0",
    ),
    "CIFTI-1": (
        everywhere(rb'<CIFTI Version="2[^"]*"', b'<CIFTI Version="1"'),
        "is CIFTI version 1.*-file-convert",
    ),
    "another root": (
        lambda xml: xml.replace(b"CIFTI Version", b"GIFTI Version").replace(b"</CIFTI", b"</GIFTI"),
        "a header of GIFTI",
    ),
    "cut short": (lambda xml: xml[: len(xml) // 2], "cannot be read as CIFTI-2"),
    "no XML": (lambda xml: b"CIFTI", "cannot be read as CIFTI-2"),
    "nothing": (lambda xml: b"", "cannot be read as CIFTI-2"),
    "an unknown encoding": (
        everywhere(rb"^<", b'<?xml version="1.0" encoding="klingon"?><'),
        "cannot be read as CIFTI-2",
    ),
    "a byte that is no UTF-8": (everywhere(LEFT, b"\xff" + LEFT), "cannot be read as CIFTI-2"),
    "entities without end": (entities, "has a DOCTYPE"),
    "elements without end": (lambda xml: b"<a>" * 300_000, "nests more than"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_is_a_message_with_file_field_and_value(good, tmp_path, case):
    edit, message = CASES[case]
    path = rewritten(good, tmp_path / "bad.dtseries.nii", edit)
    began = time.perf_counter()
    with pytest.raises(UserError, match=rf"bad\.dtseries\.nii: .*{message}"):
        open_dtseries(path)
    assert time.perf_counter() - began < 5


RIGHT_ONES = {
    "as it was": (bytes, 1.0),
    "unit in small letters": (attribute(b"SeriesUnit", b"second"), 1.0),
    "milliseconds by exponent": (
        lambda xml: attribute(b"SeriesStep", b"1000")(attribute(b"SeriesExponent", b"-3")(xml)),
        1.0,
    ),
    "a TR with an exponent of its own": (attribute(b"SeriesStep", b"7.2e-1"), 0.72),
    "lines between vertices": (lambda xml: xml.replace(b"<VertexIndices>", b"<VertexIndices>\n\t "), 1.0),
    "spaces around numbers": (attribute(b"NumberOfSeriesPoints", b" 3 "), 1.0),
    "a comment among vertices": (
        lambda xml: xml.replace(b"<VertexIndices>", b"<VertexIndices><!-- from 0 on -->"),
        1.0,
    ),
    "version 2": (everywhere(rb'<CIFTI Version="[^"]*"', b'<CIFTI Version="2"'), 1.0),
}


@pytest.mark.parametrize("case", RIGHT_ONES)
def test_what_may_be_is_read(good, tmp_path, case):
    edit, tr = RIGHT_ONES[case]
    expected, series = (
        open_dtseries(good),
        open_dtseries(rewritten(good, tmp_path / "run.dtseries.nii", edit)),
    )
    assert series.tr == pytest.approx(tr)
    for hemisphere in "LR":
        np.testing.assert_array_equal(
            series.blocks[hemisphere].vertices, expected.blocks[hemisphere].vertices
        )
        assert series.blocks[hemisphere].rows == expected.blocks[hemisphere].rows


def test_a_start_is_what_workbench_makes_it(good, tmp_path, wb_command):
    late = tmp_path / "late.dtseries.nii"
    change = [wb_command, "-cifti-change-mapping", good, "ROW", late, "-series", "1.49", "-2.5"]
    subprocess.run(change, check=True, capture_output=True)
    series = open_dtseries(late)
    assert (series.tr, series.start) == (pytest.approx(1.49), pytest.approx(-2.5))
    assert open_dtseries(good).start == 0
