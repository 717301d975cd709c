"""Some hundred broken files: each is read as nibabel reads it, or refused with a UserError that names it.

What is broken is drawn from fixed seeds: bits of the NIfTI header and of the XML, digits, attributes, tags,
ends that are missing, and compressed bytes.
"""

import gzip
import re

import numpy as np
import pytest
from cifti_files import CORTEX, Small, rewritten
from nibabel.cifti2 import Cifti2Image

from simdata.bold.cifti import open_dtseries
from simdata.common.errors import UserError

VOLUMES = 4
VALUES = [
    b"",
    b"-1",
    b"0",
    b"1",
    b"7",
    b"1e9",
    b"99999999999999999999",
    b"nan",
    b"x",
    b"\xd9\xa3",
    b"1_0",
    b" 3 ",
]
FIELDS = (
    "dim",
    "datatype",
    "bitpix",
    "vox_offset",
    "scl_slope",
    "scl_inter",
    "sizeof_hdr",
    "magic",
    "intent_code",
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    small = Small(folder, VOLUMES)
    values = np.random.default_rng(0).standard_normal((small.rows, VOLUMES)).astype("<f4")
    return small.write(folder / "good.dtseries.nii", values)


def some_bit(rng, content, first=0, stop=None):
    place = int(rng.integers(first, stop or len(content)))
    return content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]


def some_digit(rng, xml):
    place = rng.choice([match.start() for match in re.finditer(rb"[0-9]", xml)])
    return xml[:place] + bytes([rng.choice(list(b"0123456789- .xe"))]) + xml[place + 1 :]


def some_attribute(rng, xml):
    """Another value, or none at all."""
    found = list(re.finditer(rb'\w+="([^"]*)"', xml))
    start, stop = found[int(rng.integers(len(found)))].span(0 if rng.random() < 0.2 else 1)
    return xml[:start] + VALUES[int(rng.integers(len(VALUES)))] + xml[stop:]


def some_tag(rng, xml):
    tags = [match.span() for match in re.finditer(rb"<[^>]*>", xml)]
    start, stop = tags[int(rng.integers(len(tags)))]
    return xml[:start] + xml[start:stop] * int(rng.choice([0, 2])) + xml[stop:]


def shorter(rng, xml):
    return xml[: int(rng.integers(len(xml)))]


KINDS = {
    "bits of the header": lambda rng, good, path: path.write_bytes(some_bit(rng, good.read_bytes(), 0, 552)),
    "bits of the XML": lambda rng, good, path: rewritten(good, path, lambda xml: some_bit(rng, xml)),
    "digits": lambda rng, good, path: rewritten(good, path, lambda xml: some_digit(rng, xml)),
    "attributes": lambda rng, good, path: rewritten(good, path, lambda xml: some_attribute(rng, xml)),
    "tags": lambda rng, good, path: rewritten(good, path, lambda xml: some_tag(rng, xml)),
    "shorter XML": lambda rng, good, path: rewritten(good, path, lambda xml: shorter(rng, xml)),
    "shorter files": lambda rng, good, path: path.write_bytes(shorter(rng, good.read_bytes())),
    "compressed bits": lambda rng, good, path: path.write_bytes(
        some_bit(rng, gzip.compress(good.read_bytes()))
    ),
}


def assert_as_nibabel_reads_it(path, series, cortices):
    content = path.read_bytes()
    image = Cifti2Image.from_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
    time, models = image.header.get_axis(0), image.header.get_axis(1)
    data, rows = np.asarray(image.dataobj).T, {name: model for name, _, model in models.iter_structures()}
    where = {name: part for name, part, _ in models.iter_structures()}
    assert (series.volumes, series.tr) == (len(time), pytest.approx(time.step))
    for hemisphere, structure in CORTEX.items():
        np.testing.assert_array_equal(series.blocks[hemisphere].vertices, rows[structure].vertex)
        np.testing.assert_allclose(cortices[hemisphere], data[where[structure]], rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # nibabel's and numpy's, of the oracle's reading
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_right_or_refused_by_name(good, tmp_path, kind):
    path = tmp_path / f"broken.dtseries.nii{'.gz' * (kind == 'compressed bits')}"
    refused = []
    for seed in range(60):
        KINDS[kind](np.random.default_rng([seed, list(KINDS).index(kind)]), good, path)
        try:
            series = open_dtseries(path)
            cortices = dict(series.cortices())
        except UserError as error:
            refused.append(str(error))
        else:
            assert_as_nibabel_reads_it(path, series, cortices)
    assert refused
    assert all(str(path) in message for message in refused)
