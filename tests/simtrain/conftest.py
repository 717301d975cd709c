"""Small valid stores, written by plain xarray and zarr: simtrain must need nothing of simdata's writer."""

import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

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

LAG = 6
VERTICES = 40962
SEGMENTS = ["rest", "alpha", "beta", "gamma", "delta", "test-retest"]
LATENT = 6


class Planted(NamedTuple):
    """What a small store holds.

    Attributes
    ----------
    subjects : id -> set
    movies : name -> seconds
    scenes : movie, segment, start, stop, scene split (none 0, train 1, test 3)
    absent : subject and movie of a run
    widest : mm, x beyond which L has no cortex
    seed : of subjects, films and noise
    """

    name: str
    subjects: dict[str, str]
    movies: dict[str, int]
    scenes: list[tuple[int, int, int, int, int]]
    absent: tuple[int, int]
    widest: int = 90
    seed: int = 0
    segments: tuple[str, ...] = tuple(SEGMENTS)

    @property
    def seconds(self) -> int:
        return max(self.movies.values())

    @property
    def catalog(self) -> dict[str, object]:
        sets = {of: [one for one, own in self.subjects.items() if own == of] for of in ("val", "test")}
        tested = [self.segments[code] for _, code, _, _, split in self.scenes if split == 3]
        return {
            "name": self.name,
            "title": self.name.capitalize(),
            "tr": 1.0,
            "stimulus_lag": LAG,
            "bold": ["{subject}/{movie}.nii"],
            "subject_pattern": "[a-z][0-9]",
            "movies": [
                {
                    "name": name,
                    "volumes": volumes,
                    "phase_encoding": "AP",
                    "session": 1,
                    "video": f"{name}.mp4",
                    "segments": [
                        {"name": self.segments[code], "start": start, "stop": stop}
                        for of, code, start, stop, _ in self.scenes
                        if of == movie
                    ],
                }
                for movie, (name, volumes) in enumerate(self.movies.items())
            ],
            "splits": {"subjects": sets, "scenes": {"clips": {"test": tested}}},
        }


SMALL = Planted(
    "small",
    {"s1": "train", "s2": "train", "s3": "train", "s4": "val", "s5": "test", "s6": "test"},
    {"M1": 64, "M2": 61},
    [(0, 1, 2, 42, 1), (0, 2, 44, 55, 3), (0, 5, 56, 60, 0), (1, 3, 1, 40, 1), (1, 4, 42, 55, 3)],
    absent=(2, 1),
)
# Another data set, of which an id of a subject, and nothing else, is as in the first.
OTHER = Planted(
    "other",
    {"t1": "train", "t2": "train", "s1": "test", "t4": "val"},
    {"N1": 52, "N2": 70, "N3": 40},
    [(0, 1, 1, 33, 1), (0, 2, 35, 45, 3), (1, 3, 2, 50, 1), (1, 4, 52, 63, 3), (2, 6, 3, 33, 1)],
    absent=(1, 2),
    widest=80,
    seed=5,
    segments=(*SEGMENTS, "epsilon"),
)
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
def other_store(tmp_path_factory) -> Path:
    """Of another data set: four subjects, three movies; maps and encoders' names are the small store's."""
    path = tmp_path_factory.mktemp("other") / "other.zarr"
    write_store(path, OTHER)
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
    latent = rng.standard_normal((len(SMALL.movies), SMALL.seconds, LATENT))
    noise = planted_embedding(rng, latent, "video", "noise", 12)
    of_film = np.random.default_rng(0).standard_normal(latent.shape)
    words = planted_embedding(rng, of_film, "text", "words", 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = xr.Dataset({"video_noise": noise, "text_words": words})
        added.to_zarr(path, mode="a", zarr_format=3, consolidated=True)
    return path


def write_store(path: Path, store: Planted = SMALL, **metadata: object) -> None:
    rng, seconds, movies = np.random.default_rng(0), store.seconds, len(store.movies)
    own, latent = rng, rng.standard_normal((len(SMALL.movies), SMALL.seconds, LATENT))
    if store is not SMALL:  # the maps that are drawn next are the same
        own = np.random.default_rng(store.seed)
        latent = own.standard_normal((movies, seconds, LATENT))
    cortex = planted_cortex(store.widest)
    bold = planted_bold(rng, own, latent, cortex, store)
    mean, std = planted_scales(cortex, store)
    status = np.ones((len(store.subjects), movies), np.int8)
    status[store.absent] = 0
    segment, scene_split = np.zeros((2, movies, seconds), np.int8)
    for movie, code, start, stop, split in store.scenes:
        segment[movie, start:stop], scene_split[movie, start:stop] = code, split
    run = ("subject", "movie")
    bold_encoding = {
        "chunks": (1, 1, 1, 1, VERTICES),
        "shards": (1, 1, seconds, 1, VERTICES),
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
            ("movie", "second"),
            segment,
            {"flag_values": list(range(len(store.segments))), "flag_meanings": " ".join(store.segments)},
        ),
        "scene_split": xr.Variable(
            ("movie", "second"),
            scene_split,
            {"flag_values": [0, 1, 2, 3], "flag_meanings": "none train val test"},
        ),
        "cortex": xr.Variable(("hemisphere", "vertex"), cortex),
        "video_shapes": planted_embedding(rng, latent, "video", "shapes", 10, store),
        "frame": planted_frames(latent),
        "audio_tones": planted_embedding(rng, latent, "audio", "tones", 7, store),
    }
    coords = {
        "subject": xr.Variable("subject", np.array(list(store.subjects), object)),
        "subject_split": xr.Variable("subject", np.array(list(store.subjects.values()), object)),
        "movie": xr.Variable("movie", np.array(list(store.movies), object)),
        "second": xr.Variable("second", np.arange(seconds)),
        "hemisphere": xr.Variable("hemisphere", np.array(["L", "R"], object)),
        "volumes": xr.Variable("movie", np.array(list(store.movies.values()))),
    }
    known = {
        "format_version": "2.0",
        "catalog_name": store.name,
        "catalog_sha256": "0" * 64,
        "stimulus_lag": LAG,
        "catalog": yaml.safe_dump(store.catalog),
    }
    variables["simdata_metadata"] = xr.Variable((), np.int8(0), known | metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.Dataset(variables, coords).to_zarr(path, zarr_format=3, consolidated=True)


def planted_cortex(widest: int = SMALL.widest) -> np.ndarray:
    x, _, z = icosphere(6)[0].T
    return np.stack([(x < widest) & (z > -95), x < 85])


def planted_bold(
    rng: np.random.Generator,
    own_rng: np.random.Generator,
    latent: np.ndarray,
    cortex: np.ndarray,
    store: Planted,
) -> np.ndarray:
    """(subject, movie, second, hemisphere, vertex) int8: smooth maps that follow the film, and noise.

    The maps are of ``rng``, all else of ``own_rng``.
    """
    directions = rng.standard_normal((LATENT, 3)) / 25
    phases = rng.uniform(0, 2 * np.pi, (2, LATENT, 1))
    maps = np.sin(directions @ icosphere(6)[0].T + phases).astype(np.float32)
    bold = np.full((len(store.subjects), len(latent), store.seconds, 2, VERTICES), -128, np.int8)
    rng = own_rng
    for subject in range(len(store.subjects)):
        own = 1 + 0.2 * rng.standard_normal((LATENT, 1))
        for movie, volumes in enumerate(store.movies.values()):
            if (subject, movie) == store.absent:
                continue
            course = np.vstack([rng.standard_normal((LAG, LATENT)), latent[movie, : volumes - LAG]])
            for hemisphere in range(2):
                z = course.astype(np.float32) @ (own * maps[hemisphere]).astype(np.float32)
                z += 2 * rng.standard_normal(z.shape, dtype=np.float32)
                z = (z - z.mean(axis=0)) / z.std(axis=0)
                values = np.clip(np.rint(z * 16), -127, 127).astype(np.int8)
                bold[subject, movie, :volumes, hemisphere] = np.where(cortex[hemisphere], values, -128)
    return bold


def planted_scales(cortex: np.ndarray, store: Planted) -> tuple[np.ndarray, np.ndarray]:
    """Mean and s.d. (subject, movie, hemisphere, vertex) float32 of runs in the scanner's units."""
    rng, shape = np.random.default_rng(7), (len(store.subjects), len(store.movies), *cortex.shape)
    mean, std = 1e4 + 2e3 * rng.standard_normal(shape), 100 * np.exp(rng.standard_normal(shape) / 3)
    mean, std = (np.where(cortex, values, np.nan).astype("f4") for values in (mean, std))
    mean[store.absent] = std[store.absent] = np.nan
    return mean, std


def planted_embedding(
    rng: np.random.Generator,
    latent: np.ndarray,
    modality: str,
    encoder: str,
    features: int,
    store: Planted = SMALL,
) -> xr.Variable:
    """(movie, second, feature) float32 of the clips [s, s + 3); NaN from 3 s before the end of a film."""
    clips = sum(np.roll(latent, -later, axis=1) for later in range(3)) / 3
    values = (
        clips @ rng.standard_normal((LATENT, features)) * 5
        + 100
        + rng.standard_normal((*latent.shape[:2], features)) / 10
    )
    for movie, volumes in enumerate(store.movies.values()):
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
