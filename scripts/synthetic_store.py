"""A store of noise, of the release's real lengths, for benchmarks: made in seconds, not by a build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from simdata.encoders import create_all
from simdata.release.catalog import load
from simdata.store import schema
from simdata.store.encoding import ENCODINGS
from simdata.store.shards import ShardBuffer
from simdata.surface.meshes import HEMISPHERES, icosphere_vertices
from simdata.surface.resampling import ORDER

MEDIAL_WALL = 3_405  # vertices a hemisphere without data, as in HCP's mask


def write_store(path: Path, subjects: int, encoding: str = "int8", movies: int = 4) -> None:
    """Write a store of the HCP catalog's first films, with every run of ``subjects`` subjects.

    A subject takes 300 MB as int8. Its embeddings are noise too, in the sizes of the default encoders.
    """
    catalog, text = load("hcp7t-movie")
    catalog = catalog.model_copy(update={"movies": catalog.movies[:movies]})
    form, encoders = ENCODINGS[encoding], create_all(("motion_energy", "logmel"))
    names = [str(100_000 + number) for number in range(subjects)]
    schema.create(
        path,
        catalog=catalog,
        subjects=names,
        encoding=form,
        encoders=encoders,
        thumbnail=(90, 160),
        metadata={"catalog": text, "catalog_name": catalog.name, "catalog_sha256": ""}
        | {"stimulus_lag": catalog.stimulus_lag},
    )
    rng = np.random.default_rng(0)
    vertices = icosphere_vertices(ORDER)
    cortex = np.ones((len(HEMISPHERES), vertices), bool)
    cortex[:, rng.permutation(vertices)[:MEDIAL_WALL]] = False
    noise = rng.standard_normal((catalog.seconds, vertices), np.float32)
    if form.name == "int8":
        noise = np.clip(np.rint(noise / form.scale), -127, 127)
    for subject in range(subjects):
        for position, movie in enumerate(catalog.movies):
            for hemisphere in range(len(HEMISPHERES)):
                buffer = ShardBuffer(movie.length, catalog.seconds, vertices, form.dtype)
                buffer.values[:] = np.roll(noise, rng.integers(len(noise)), axis=0)[: movie.length]
                buffer.values[:, ~cortex[hemisphere]] = form.fill
                buffer.write(path / f"bold/c/{subject}/{position}/0/{hemisphere}/0")
    group = zarr.open_group(path, mode="r+")
    group["run_status"][:] = schema.COMPLETE
    there = np.arange(catalog.seconds) < np.array([movie.length for movie in catalog.movies])[:, None]
    group["run"][:] = np.broadcast_to(there, group["run"].shape)
    group["cortex"][:] = cortex
    for name, value in (("bold_mean", 10_000), ("bold_std", 100)):
        group[name][:] = np.broadcast_to(np.where(cortex, np.float32(value), np.nan), group[name].shape)
    for encoder in encoders:
        array = group[encoder.array]
        array[:] = rng.standard_normal(array.shape, np.float32)
