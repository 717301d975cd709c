"""simtrain.reconstruct: the pictures and figures of the command."""

import json
import shutil

import numpy as np
import pytest
from command_line import call
from examples import must_run

import simtrain
from simdata.common.errors import UserError

QUICK = {"experiment": "new-subjects", "every": 3, "device": "cpu"}


class Grey:
    def decode(self, embeddings, info):
        return np.full((len(embeddings), *info.size, 3), 128, np.uint8)


def test_it_gives_and_writes_what_the_command_does(trained, store, tmp_path):
    shutil.copytree(trained.path, tmp_path / "run", ignore=shutil.ignore_patterns("recon*", "retrieval*"))
    words = ("--experiment", "new-subjects", "--every", 3, "--sheet", 0, "--device", "cpu")
    call("reconstruct", tmp_path / "run", store, *words)
    seen = []
    found = simtrain.reconstruct(
        tmp_path / "run",
        simtrain.open_dataset(store),
        out=tmp_path / "out",
        progress=lambda *of: seen.append(of),
        **QUICK,
    )
    assert seen == [("new-subjects", 1, 2), ("new-subjects", 2, 2)]
    for name in ("reconstruction.json", "scores.csv", "windows.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (
            tmp_path / "run" / "reconstruction" / name
        ).read_bytes()
    written = json.loads((tmp_path / "out" / "reconstruction.json").read_text())["tables"]["scores"]
    assert found.metrics["mean"].tolist() == [row["mean"] for row in written]
    assert found.metrics["low"].isna().tolist() == [row["low"] is None for row in written]
    assert len(found.tables["windows"]) == len(found.results["new-subjects"].windows)


def test_a_decoder_is_an_object_of_ones_own(trained, store):
    found = simtrain.reconstruct(trained, store, decoder=Grey(), save=False, **QUICK)
    assert "decoder" in set(found.metrics["from"])
    assert found.settings.decoder == "Grey"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experiment": "old"}, "experiment: 'old' is not one of"),
        ({"exclude": "film"}, "exclude: 'film' is not one of movie, scene"),
        ({"gallery": "test"}, "gallery: 'test' is not one of train, all"),
        ({"neighbours": 0}, "neighbours: 0 is less than 1"),
        ({"every": 0}, "every: 0 is less than 1"),
        ({"lag": -1}, "lag: -1 is less than 0"),
        ({"every": 1000}, "use a smaller `every`"),
        ({"decoder": "nobody"}, "no decoder 'nobody'"),
        ({"decoder": object()}, r"decoder object: has no method decode\(embeddings, info\)"),
        ({"decoder_features": "shapes"}, "`decoder_features` without `decoder`"),
        ({"out": "s3://here"}, "out: 's3://here' is a URL"),
    ],
)
def test_what_is_wrong_is_named(trained, store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.reconstruct(trained, store, **{**QUICK, **wrong, "save": False})


def test_the_example_runs(trained, store):
    must_run(simtrain.reconstruct, run=trained, store=store)
