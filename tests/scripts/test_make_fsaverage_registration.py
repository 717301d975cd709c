import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simdata.surface import registration

ROOT = Path(__file__).parents[2]


@pytest.mark.templates
def test_what_is_shipped_is_what_the_script_makes_of_hcps_files(fsaverage_files, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "make_fsaverage_registration.py", fsaverage_files]
    out = tmp_path / "made.npz"
    told = subprocess.run([*command, "--out", out], check=True, capture_output=True, text=True).stdout
    assert told.count("99th percentile 0.003") == 2  # mm, of the 59k spheres
    shipped = Path(registration.__file__).with_name(registration.FILE)
    assert shipped.stat().st_size < 240_000
    with np.load(out) as made, np.load(shipped) as ours:
        assert set(made) == set(ours) == {"coarse", "detail"}
        for name in made:
            # The last bit of a position may be rounded otherwise by another processor.
            assert np.abs(made[name].astype(int) - ours[name]).max() <= 1
