"""One run converted, and what then lies in its shards."""

import numpy as np

from simdata.bold.run_conversion import convert_run
from simdata.release.catalog import Movie
from simdata.release.sources import Part, Run, Scan
from simdata.store.encoding import ENCODINGS
from simdata.store.shards import CHECKSUM_BYTES

VOLUMES, CAPACITY, VERTICES = 40, 50, 40_962


def run_of(path):
    movie = Movie(name="A", volumes=VOLUMES, phase_encoding="AP", session=1, video="A.mp4", segments=[])
    return Run.of_file("1", movie, path, path.name)


def cell_of(parts, seconds):
    """A cell of (path, plays, table of confounds) of each scan."""
    movie = Movie(name="A", seconds=seconds, video="A.mp4")
    scans = [Scan((path,), (path.name,), confounds=table) for path, _, table in parts]
    return Run(
        "1", movie, tuple(Part(scan, tuple(plays)) for scan, (_, plays, _) in zip(scans, parts, strict=True))
    )


def convert_cell(parts, seconds, staging, encoding="float32", **options):
    """Scans of any TR, with their plays, on a film's axis of so many seconds."""
    options = {"tr": None, "checksum": False, **options}
    form = ENCODINGS[encoding]
    return convert_run(cell_of(parts, seconds), capacity=seconds, encoding=form, staging=staging, **options)


def convert(path, staging, encoding="int8", **options):
    options = {"checksum": False, "threads": 1, **options}
    return convert_run(
        run_of(path), tr=1.0, capacity=CAPACITY, encoding=ENCODINGS[encoding], staging=staging, **options
    )


def stored(converted, encoding="int8", capacity=CAPACITY):
    """(seconds, vertices) of each hemisphere, out of the seconds with their checksums before the index."""
    dtype = ENCODINGS[encoding].dtype
    files = [np.fromfile(path, np.uint8)[: -(capacity * 16 + CHECKSUM_BYTES)] for path in converted.shards]
    rows = [file.reshape(-1, VERTICES * dtype.itemsize + CHECKSUM_BYTES) for file in files]
    return [np.ascontiguousarray(row[:, :-CHECKSUM_BYTES]).view(dtype) for row in rows]
