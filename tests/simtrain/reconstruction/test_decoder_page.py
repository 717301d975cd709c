"""The worked example of docs/decoders.md, run on a store whose pictures follow what BOLD follows."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from command_line import call

import simdata

PAGE = Path(__file__).parents[3] / "docs" / "decoders.md"


@pytest.fixture
def small(store, tmp_path):
    path = tmp_path / "demo.zarr"
    shutil.copytree(store, path)
    return path


def _import(path, files, name, modality):
    """As `simdata.import_embeddings`, into a store that simdata has not written."""
    opened = xr.open_zarr(path)
    values = np.full((*opened.video_shapes.shape[:2], 8), np.nan, "f4")
    for row, movie in enumerate(opened.movie.values):
        latents = np.load(files[movie])
        values[row, : len(latents)] = latents
    attrs = {"modality": modality, "encoder": name, "window": 3.0, "stride": 1.0}
    added = xr.Dataset({f"{modality}_{name}": (("movie", "second", f"{name}_feature"), values, attrs)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added.to_zarr(path, mode="a", zarr_format=3, consolidated=True)


def test_the_example_runs_and_its_pictures_are_better_than_those_of_other_moments(
    trained, small, tmp_path, monkeypatch
):
    text = PAGE.read_text()
    decoder, latents, both = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "small_decoder.py").write_text(decoder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(simdata, "import_embeddings", _import)
    (tmp_path / "run").symlink_to(trained.path)
    assert "video_motion_energy" in latents
    exec(compile(latents.replace("video_motion_energy", "video_shapes"), str(PAGE), "exec"), {})
    shown = {}
    exec(compile(both.replace("**how", '**how, device="cpu", save=False'), str(PAGE), "exec"), shown)
    decoded = shown["decoded"].set_index("score")
    assert (decoded.p < 0.01).all()
    assert (decoded["mean"] > decoded.chance).all()
    assert decoded["two_way_mean"]["correlation"] > 0.7

    command = re.search(r"^    simtrain (reconstruct run .*)$", text, re.MULTILINE)[1].split()
    words = "--device cpu --every 2 --sheet 0 --experiment new-subjects"
    call(*command, *words.split())
    written = json.loads((trained.path / "reconstruction" / "reconstruction.json").read_text())
    assert 0.1 < written["linear_map"]["r2_validation"] < 1
    shutil.rmtree(trained.path / "reconstruction")


def test_the_example_s_decoder_gives_back_what_it_encodes():
    decoder = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    found = {}
    exec(decoder, found)
    small = found["SmallDecoder"]()
    latents = 10 * np.random.default_rng(0).standard_normal((5, 8)).astype("f4")
    info = type("Info", (), {"size": (12, 16)})
    pictures = small.decode(latents, info)
    assert pictures.shape == (5, 12, 16, 3)
    correlation = np.corrcoef(small.encode(pictures).ravel(), latents.ravel())[0, 1]
    assert correlation > 0.9
