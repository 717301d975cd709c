"""What BOLD of elsewhere is, and what the table says of cells that are there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere, validation
from simtrain.models.learner import Learner

SCRIPTS = Path(__file__).parents[2] / "scripts"
STORES = Path(__file__).parents[1] / "simtrain" / "conftest.py"
SMALL = ["model.ico=1", "model.dim=8", "context.before=9", "context.after=8", "context.ico=1"]


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path():
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("stores", STORES)
    stores = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stores)
    path = tmp_path_factory.mktemp("store") / "small.zarr"
    stores.write_store(path)
    return path


def test_windows_keep_their_masks_and_get_bold_of_another_film(store):
    import measure_context as measuring

    dataset = open_dataset(store)
    config = resolve(load("demo", SMALL), dataset)
    learner, used = Learner(config, dataset, dataset.embeddings(config)), Windows.of(dataset, config)
    samples = by_hemisphere(validation(used.find()))[::9]
    _, own = learner.context.of_samples(samples, torch.device("cpu"))
    moments = measuring.elsewhere(samples, dataset, 3, 0)
    assert (moments["movie"] != samples["movie"]).all()
    assert (moments["second"] + 3 <= dataset.volumes[moments["movie"]]).all()
    with measuring.masked_as(samples, learner, dataset):
        courses, seen = learner.context.of_samples(moments, torch.device("cpu"))
    assert torch.equal(seen, own)
    assert not own.all()
    for moment, course, mask in zip(moments, courses.numpy(), seen.numpy(), strict=True):
        at = (moment["second"] + np.arange(-9, 11)) % dataset.volumes[moment["movie"]]
        whole = learner.context._run((moment["subject"], moment["movie"], moment["hemisphere"]))
        np.testing.assert_array_equal(course[mask], whole[at[mask]])
    found = measuring.validated(learner.eval(), used, samples, config)
    assert {"retrieval", "masks-retrieval", "new-subjects-top1-video"} <= set(found)
    assert torch.equal(learner.context.of_samples(samples, torch.device("cpu")).seen, own)


def test_the_table_has_means_and_ranges_in_percent():
    import measure_context as measuring

    cells = {"3 s": [{"retrieval": 0.2}, {"retrieval": 0.3}], "10 s": [{"retrieval": 0.5}]}
    lines = measuring.table(cells, {"3 s": 1.0, "10 s": 1.25}).split("\n")
    assert lines[2].startswith("| 3 s | 25.0 (20.0 to 30.0) | - |")
    assert lines[2].endswith("| 2 | 1.00 |")
    assert lines[3].startswith("| 10 s | 50.0 |")
    assert lines[3].endswith("| 1.25 |")


def test_every_reach_is_within_what_is_possible():
    import measure_context as measuring

    for overrides in measuring.REACHES.values():
        config = load("demo", [f"{key}={value}" for key, value in overrides.items()])
        assert config.data.frames + config.context.seconds in (3, 10, 30, 100)
