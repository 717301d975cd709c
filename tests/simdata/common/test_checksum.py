import subprocess

import numpy as np
import pytest

from simdata.common.checksum import READ_BYTES, sha256


@pytest.mark.parametrize("size", [0, 1, READ_BYTES - 1, READ_BYTES, 3 * READ_BYTES + 7])
def test_equals_sha256sum(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert sha256(path) == printed.split()[0]
