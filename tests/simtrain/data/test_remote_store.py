"""Training and testing on a store behind a web server."""

import json

import pytest
import torch
from click import Context
from command_line import call, sets
from range_server import serve

from simdata.common.errors import UserError
from simtrain.cli.options import Location
from simtrain.cli.root import COMMANDS, cli
from simtrain.data.dataset import open_dataset
from simtrain.training import checkpoint

TINY = ["model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=16", "train.steps=3"]
TINY += ["train.batch_size=8", "train.validation_samples=8", "train.validate_every=3"]
SETTINGS = sets(TINY)
POOLS = ("--experiment", "new-subjects", "--pool", "8", "--clips", "20", "--draws", "2")


@pytest.mark.parametrize("feed", ["stream", "memory"])
def test_a_url_trains_and_tests_to_the_same_bits_as_the_folder(feed, store, tmp_path):
    with serve(store) as server:
        for name, place in (("local", store), ("remote", server.url)):
            run = tmp_path / name
            call("fit", place, "--config", "demo", *SETTINGS, "--feed", feed, "--out", run)
            call("retrieve", run, place, *POOLS)
        call("predict", tmp_path / "remote", server.url, "--subject", "s5", "--out", tmp_path / "p.zarr")
    assert json.loads((tmp_path / "remote/store.json").read_text())["path"] == server.url
    local, remote = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("local", "remote"))
    assert all(torch.equal(local["learner"][name], remote["learner"][name]) for name in local["learner"])
    figures = [json.loads((tmp_path / name / "retrieval.json").read_text()) for name in ("local", "remote")]
    assert figures[0] == figures[1]


def test_every_command_takes_a_url():
    for name in COMMANDS.keys() - {"compare", "config", "correlate"}:  # which take none
        params = cli.get_command(Context(cli), name).params
        stores = [param for param in params if param.name in ("store", "stores")]
        assert [type(param.type) for param in stores] == [Location], name


def test_a_url_without_a_store_is_named(tmp_path):
    with serve(tmp_path) as server, pytest.raises(UserError, match=f"{server.url} is not a simdata store"):
        open_dataset(server.url)


def test_a_url_of_an_unknown_kind_is_named():
    with pytest.raises(UserError, match=r"nothing://here cannot be read .*simdata\[remote\]"):
        open_dataset("nothing://here")
