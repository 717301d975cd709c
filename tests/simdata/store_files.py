"""A small store that is built from real files, and what tests do with copies of it."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
import yaml
from cifti_files import noise, write_dtseries
from click.testing import CliRunner, Result
from film_files import write_film

from simdata.cli import cli
from simdata.common.film_clock import BLOCK

VOLUMES = {"A": BLOCK + 8, "B": 20}
CATALOG = {
    "name": "mini",
    "title": "Mini",
    "tr": 1.0,
    "stimulus_lag": 5,
    "bold": ["{subject}/{movie}.dtseries.nii"],
    "subject_pattern": "[0-9]+",
    "movies": [
        {
            "name": name,
            "volumes": volumes,
            "phase_encoding": "AP",
            "session": 1,
            "video": f"{name}.mp4",
            "segments": [{"name": f"clip{name}", "start": 2, "stop": 16}],
        }
        for name, volumes in VOLUMES.items()
    ],
}


def write_sources(folder: Path) -> None:
    """A catalog, one subject with one run, and two films."""
    (folder / "mini.yaml").write_text(yaml.safe_dump(CATALOG))
    write_dtseries(folder / "bold/1/A.dtseries.nii", noise("32k", VOLUMES["A"]), "32k")
    (folder / "movies").mkdir()
    for movie, volumes in VOLUMES.items():
        write_film(folder / "movies" / f"{movie}.mp4", seconds=volumes)


def call(*arguments: object) -> Result:
    """Run simdata's command line; errors are raised."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def build(folder: Path, *options: object) -> Result:
    places = ["--source", folder / "bold", "--movies", folder / "movies", "--out", folder / "s.zarr"]
    return call("build", folder / "mini.yaml", *places, *options)


def contents(store: Path, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of a store."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and not any(part in str(path) for part in without)
    }


def opened(folder: Path) -> xr.Dataset:
    return xr.open_zarr(folder / "s.zarr", chunks=None)
