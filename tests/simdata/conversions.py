"""One run converted, and what then lies in its shards."""

import numpy as np

from simdata.bold.run_conversion import convert_run
from simdata.release.catalog import Movie
from simdata.release.sources import Run
from simdata.store.encoding import ENCODINGS
from simdata.store.shards import CHECKSUM_BYTES

VOLUMES, CAPACITY, VERTICES = 40, 50, 40_962


def run_of(path):
    movie = Movie(name="A", volumes=VOLUMES, phase_encoding="AP", session=1, video="A.mp4", segments=[])
    return Run.of_file("1", movie, path, path.name)


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
