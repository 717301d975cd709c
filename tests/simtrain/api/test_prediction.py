"""simtrain.predict: the embeddings that the command writes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xarray as xr
from command_line import call
from examples import must_run

import simtrain


def test_predict_gives_what_the_command_writes(trained, store, tmp_path):
    call(
        "predict", trained.path, store, "--out", tmp_path / "told.zarr", "--subject", "s5", "--device", "cpu"
    )
    seen = []
    with ThreadPoolExecutor(1) as pool:
        embedded = pool.submit(
            simtrain.predict,
            str(trained.path),
            store,
            str(tmp_path / "out.zarr"),
            subjects=["s5"],
            device="cpu",
            progress=lambda *done: seen.append(done),
        ).result()
    assert seen == [("s5", 1, 1)]
    with xr.open_zarr(tmp_path / "told.zarr") as told:
        for name in ("fmri", "video", "audio"):
            assert np.isfinite(told[name].values).any()
            np.testing.assert_array_equal(embedded[name].values, told[name].values)


def test_the_example_runs(trained, store, tmp_path):
    must_run(simtrain.predict, run=trained, store=store, out=tmp_path / "embedded.zarr")
