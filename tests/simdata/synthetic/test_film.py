"""Films of the miniatures are the same bytes wherever they are written."""

import os

import numpy as np
import pytest

from simdata.synthetic.film import HEIGHT, SOUND_RATE, WIDTH, Footage, write_film

SECONDS = 12


def _noise(times):
    drawn = np.random.default_rng(int(times[0])).integers(0, 255, (len(times), HEIGHT // 8, WIDTH // 8, 3))
    return drawn.astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system does not bind a process to a core"
)
def test_a_film_does_not_depend_on_the_number_of_cores(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, SECONDS * SOUND_RATE).astype(np.float32)
    footage, cores = Footage(_noise, sound), os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("there is one core")
    for name in ("all.mp4", "again.mp4"):
        write_film(tmp_path / name, footage, SECONDS)
    os.sched_setaffinity(0, {min(cores)})
    try:
        write_film(tmp_path / "one.mp4", footage, SECONDS)
    finally:
        os.sched_setaffinity(0, cores)
    written = {name: (tmp_path / f"{name}.mp4").read_bytes() for name in ("all", "again", "one")}
    assert written["again"] == written["all"]
    assert written["one"] == written["all"]
