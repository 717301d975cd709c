"""A small valid store, written by plain xarray and zarr: simtrain must need nothing of simdata's writer."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from rich.console import Console
from zarr.codecs import Crc32cCodec

from simdata.surface.meshes import icosphere
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun

SUBJECTS = {"s1": "train", "s2": "train", "s3": "train", "s4": "val", "s5": "test", "s6": "test"}
VOLUMES = (64, 61)
LAG = 6
SECONDS, VERTICES = 64, 40962
SEGMENTS = ["rest", "alpha", "beta", "gamma", "delta", "test-retest"]
# movie, segment, start, stop, scene split (none 0, train 1, test 3)
SCENES = [(0, 1, 2, 42, 1), (0, 2, 44, 55, 3), (0, 5, 56, 60, 0), (1, 3, 1, 40, 1), (1, 4, 42, 55, 3)]
CATALOG = {
    "name": "small",
    "title": "Small",
    "tr": 1.0,
    "stimulus_lag": LAG,
    "bold": ["{subject}/{movie}.nii"],
    "subject_pattern": "s[0-9]",
    "movies": [
        {
            "name": f"M{movie + 1}",
            "volumes": volumes,
            "phase_encoding": "AP",
            "session": 1,
            "video": f"M{movie + 1}.mp4",
            "segments": [
                {"name": SEGMENTS[code], "start": start, "stop": stop}
                for of, code, start, stop, _ in SCENES
                if of == movie
            ],
        }
        for movie, volumes in enumerate(VOLUMES)
    ],
    "splits": {
        "subjects": {"val": ["s4"], "test": ["s5", "s6"]},
        "scenes": {"clips": {"test": ["beta", "delta"]}},
    },
}
LATENT = 6
THUMBNAIL = (12, 16)  # y, x
TRAINED = [
    "model.ico=1",
    "model.dim=32",
    "model.depth=1",
    "model.dim_head=32",
    "model.heads=1",
    "model.pool=mean",
    "projector.average=before",
    "loss.weights={fmri_video: 0.8, fmri_audio: 0.1, video_audio: 0.1}",
    "train.steps=30",
    "train.batch_size=32",
    "train.learning_rate=4e-3",
    "train.validation_samples=32",
]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Six subjects, two movies of a minute; vertices follow the film with a lag of 6 s, under noise.

    ``s3`` lacks its run of the second movie. One video and one audio encoder.
    """
    path = tmp_path_factory.mktemp("store") / "small.zarr"
    write_store(path)
    return path


@pytest.fixture(scope="session")
def trained(store, tmp_path_factory) -> FitRun:
    """A run that finds the clips of new subjects: what it is tested with is written below it, no more."""
    dataset = open_dataset(store)
    run = FitRun.start(
        tmp_path_factory.mktemp("trained") / "run", resolve(load("demo", TRAINED), dataset), dataset
    )
    fit(dataset, run, torch.device("cpu"), Console(quiet=True))
    return run


@pytest.fixture(scope="session")
def rich_store(store, tmp_path_factory) -> Path:
    """The small store with text, and a second video embedding, of another film, that says nothing of BOLD."""
    path = tmp_path_factory.mktemp("rich") / "rich.zarr"
    shutil.copytree(store, path)
    rng = np.random.default_rng(1)
    latent = rng.standard_normal((len(VOLUMES), SECONDS, LATENT))
    noise = planted_embedding(rng, latent, "video", "noise", 12)
    of_film = np.random.default_rng(0).standard_normal(latent.shape)
    words = planted_embedding(rng, of_film, "text", "words", 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = xr.Dataset({"video_noise": noise, "text_words": words})
        added.to_zarr(path, mode="a", zarr_format=3, consolidated=True)
    return path


def write_store(path: Path, **metadata: object) -> None:
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((len(VOLUMES), SECONDS, LATENT))
    cortex = planted_cortex()
    bold = planted_bold(rng, latent, cortex)
    mean, std = planted_scales(cortex)
    status = np.ones((len(SUBJECTS), len(VOLUMES)), np.int8)
    status[2, 1] = 0
    segment, scene_split = np.zeros((2, len(VOLUMES), SECONDS), np.int8)
    for movie, code, start, stop, split in SCENES:
        segment[movie, start:stop], scene_split[movie, start:stop] = code, split
    run = ("subject", "movie")
    bold_encoding = {
        "chunks": (1, 1, 1, 1, VERTICES),
        "shards": (1, 1, SECONDS, 1, VERTICES),
        "compressors": (Crc32cCodec(),),
        "fill_value": np.int8(-128),
    }
    bold_attrs = {"scale_factor": 1 / 16, "_FillValue": np.int8(-128)}
    variables = {
        "bold": xr.Variable((*run, "second", "hemisphere", "vertex"), bold, bold_attrs, bold_encoding),
        "bold_mean": xr.Variable((*run, "hemisphere", "vertex"), mean, {}, {"chunks": (1, 1, *cortex.shape)}),
        "bold_std": xr.Variable((*run, "hemisphere", "vertex"), std, {}, {"chunks": (1, 1, *cortex.shape)}),
        "run_status": xr.Variable(run, status, {"flag_values": [0, 1], "flag_meanings": "absent complete"}),
        "segment": xr.Variable(
            ("movie", "second"), segment, {"flag_values": list(range(6)), "flag_meanings": " ".join(SEGMENTS)}
        ),
        "scene_split": xr.Variable(
            ("movie", "second"),
            scene_split,
            {"flag_values": [0, 1, 2, 3], "flag_meanings": "none train val test"},
        ),
        "cortex": xr.Variable(("hemisphere", "vertex"), cortex),
        "video_shapes": planted_embedding(rng, latent, "video", "shapes", 10),
        "frame": planted_frames(latent),
        "audio_tones": planted_embedding(rng, latent, "audio", "tones", 7),
    }
    coords = {
        "subject": xr.Variable("subject", np.array(list(SUBJECTS), object)),
        "subject_split": xr.Variable("subject", np.array(list(SUBJECTS.values()), object)),
        "movie": xr.Variable("movie", np.array(["M1", "M2"], object)),
        "second": xr.Variable("second", np.arange(SECONDS)),
        "hemisphere": xr.Variable("hemisphere", np.array(["L", "R"], object)),
        "volumes": xr.Variable("movie", np.array(VOLUMES)),
    }
    known = {
        "format_version": "2.0",
        "catalog_name": "small",
        "catalog_sha256": "0" * 64,
        "stimulus_lag": LAG,
        "catalog": yaml.safe_dump(CATALOG),
    }
    variables["simdata_metadata"] = xr.Variable((), np.int8(0), known | metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.Dataset(variables, coords).to_zarr(path, zarr_format=3, consolidated=True)


def planted_cortex() -> np.ndarray:
    x, _, z = icosphere(6)[0].T
    return np.stack([(x < 90) & (z > -95), x < 85])


def planted_bold(rng: np.random.Generator, latent: np.ndarray, cortex: np.ndarray) -> np.ndarray:
    """(subject, movie, second, hemisphere, vertex) int8: smooth maps that follow the film, and noise."""
    directions = rng.standard_normal((LATENT, 3)) / 25
    phases = rng.uniform(0, 2 * np.pi, (2, LATENT, 1))
    maps = np.sin(directions @ icosphere(6)[0].T + phases).astype(np.float32)
    bold = np.full((len(SUBJECTS), len(VOLUMES), SECONDS, 2, VERTICES), -128, np.int8)
    for subject in range(len(SUBJECTS)):
        own = 1 + 0.2 * rng.standard_normal((LATENT, 1))
        for movie, volumes in enumerate(VOLUMES):
            if (subject, movie) == (2, 1):
                continue
            course = np.vstack([rng.standard_normal((LAG, LATENT)), latent[movie, : volumes - LAG]])
            for hemisphere in range(2):
                z = course.astype(np.float32) @ (own * maps[hemisphere]).astype(np.float32)
                z += 2 * rng.standard_normal(z.shape, dtype=np.float32)
                z = (z - z.mean(axis=0)) / z.std(axis=0)
                values = np.clip(np.rint(z * 16), -127, 127).astype(np.int8)
                bold[subject, movie, :volumes, hemisphere] = np.where(cortex[hemisphere], values, -128)
    return bold


def planted_scales(cortex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and s.d. (subject, movie, hemisphere, vertex) float32 of runs in the scanner's units."""
    rng, shape = np.random.default_rng(7), (len(SUBJECTS), len(VOLUMES), *cortex.shape)
    mean, std = 1e4 + 2e3 * rng.standard_normal(shape), 100 * np.exp(rng.standard_normal(shape) / 3)
    mean, std = (np.where(cortex, values, np.nan).astype("f4") for values in (mean, std))
    mean[2, 1] = std[2, 1] = np.nan
    return mean, std


def planted_embedding(
    rng: np.random.Generator, latent: np.ndarray, modality: str, encoder: str, features: int
) -> xr.Variable:
    """(movie, second, feature) float32 of the clips [s, s + 3); NaN from 3 s before the end of a film."""
    clips = sum(np.roll(latent, -later, axis=1) for later in range(3)) / 3
    values = (
        clips @ rng.standard_normal((LATENT, features)) * 5
        + 100
        + rng.standard_normal((2, SECONDS, features)) / 10
    )
    for movie, volumes in enumerate(VOLUMES):
        values[movie, volumes - 2 :] = np.nan
    attrs = {
        "modality": modality,
        "encoder": encoder,
        "window": 3.0,
        "stride": 1.0,
        "_FillValue": np.float32("nan"),
    }
    return xr.Variable(("movie", "second", f"{encoder}_feature"), values.astype("f4"), attrs)


def planted_frames(latent: np.ndarray) -> xr.Variable:
    """(movie, second, y, x, channel) uint8: every latent fades a patch of colours in and out."""
    coarse = np.random.default_rng(1).standard_normal((LATENT, 3, 4, 3))
    patches = coarse.repeat(4, axis=1).repeat(4, axis=2)
    pictures = np.einsum("msl,lyxc->msyxc", latent, patches)
    values = np.clip(np.rint(128 + 20 * pictures), 0, 255).astype("u1")
    attrs = {"long_name": "picture on screen when the second begins"}
    return xr.Variable(("movie", "second", "y", "x", "channel"), values, attrs)
