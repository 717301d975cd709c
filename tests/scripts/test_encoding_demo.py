"""Areas of maps that have, or have not, what the demo plants."""

import sys
from pathlib import Path

import numpy as np
import pytest

from simdata.surface.meshes import icosphere
from simtrain.api.encoding_model import VertexEncoding
from simtrain.data.places import Places
from simtrain.encoding.maps import EncodingMaps

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import encoding_demo

    yield encoding_demo
    sys.modules.pop("encoding_demo")


@pytest.mark.parametrize("kind", ["demo", "demo-study"])
def test_a_map_of_a_region_has_its_area_and_noise_has_none(script, kind):
    left = icosphere(6)[0]
    pole = np.array(script.PLANTED[kind]["video"][0])
    near = np.stack([left @ pole, left @ pole]).astype("f4")  # R mirrors L, vertex by vertex
    noise = np.random.default_rng(0).standard_normal(near.shape).astype("f4")
    cortex = np.ones(near.shape, bool)
    cortex[:, :100] = False
    maps = {"r": np.where(cortex, near, np.nan), "r2": np.where(cortex, noise, np.nan), "p": noise}
    of_subjects = {name: values[None] for name, values in maps.items()}
    found = EncodingMaps(
        ["s"], ["video_x"], of_subjects, maps, np.zeros((1, 1, *near.shape)), np.zeros((1, 2)), 1, []
    )
    places = Places(("hemisphere", "vertex"), cortex.shape, {"hemisphere": ["L", "R"]}, [])
    areas = script.areas(VertexEncoding(found, {}, places), cortex, kind)
    assert areas["r"]["video"] == pytest.approx(1)
    assert areas["r"]["audio"] < 0.8
    assert areas["r2"]["video"] == pytest.approx(0.5, abs=0.02)
    assert "p" not in areas
