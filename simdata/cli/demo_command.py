"""The command `simdata demo`."""

from __future__ import annotations

from pathlib import Path

import click

from simdata.common.local_path import LOCAL
from simdata.synthetic import write_demo


@click.command("demo")
@click.argument("folder", type=LOCAL)
@click.option("--subjects", type=click.IntRange(min=2), default=9, show_default=True)
@click.option("--density", type=click.Choice(["59k", "32k"]), default="59k", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def demo_command(folder: Path, subjects: int, density: str, seed: int) -> None:
    """Write a synthetic miniature of the release: FOLDER/hcp and FOLDER/movies.

    Real CIFTI-2 and mp4 files under the release's names, with a known response to the films planted in
    the noise. Build it with the catalog "demo".
    """
    write_demo(folder, subjects=subjects, density=density, seed=seed, progress=click.echo)
