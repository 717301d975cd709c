"""The command `simtrain reconstruct`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from simtrain.api.reconstruction import reconstruct
from simtrain.cli.options import (
    checkpoint_option,
    device_option,
    experiment_option,
    run_argument,
    split_option,
    splits_to_test,
    store_argument,
)
from simtrain.reconstruction import score_tables
from simtrain.reconstruction.experiment import ReconstructionSettings
from simtrain.reconstruction.gallery import EXCLUDE, SCENES


@click.command("reconstruct")
@run_argument
@store_argument
@experiment_option
@split_option
@click.option(
    "--exclude",
    type=click.Choice(EXCLUDE),
    default=ReconstructionSettings.exclude,
    show_default=True,
    help="What of the target is not in its gallery: its movie, or only its film clip.",
)
@click.option(
    "--gallery",
    type=click.Choice(SCENES),
    default=ReconstructionSettings.scenes,
    show_default=True,
    help="Clips of training scenes, or of all scenes that are in a set.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(1),
    default=ReconstructionSettings.neighbours,
    show_default=True,
    metavar="K",
    help="Clips in the weighted mean.",
)
@click.option("--lag", type=click.IntRange(0), help="Seconds from stimulus to BOLD (default: as trained).")
@click.option("--average-subjects", is_flag=True, help="Look up the mean of the subjects' embeddings.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=ReconstructionSettings.every,
    show_default=True,
    metavar="S",
    help="Test clips that begin at multiples of S s: the time that this takes falls with its square.",
)
@click.option(
    "--sheet",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    metavar="N",
    help="Windows on each contact sheet, spread over the film (needs matplotlib; 0: no sheet).",
)
@click.option(
    "--decoder",
    metavar="MODULE:FACTORY",
    help="Your own decoder from embeddings to pictures: see simtrain.reconstruction.decoders.Decoder.",
)
@click.option(
    "--decoder-features",
    metavar="ENCODER",
    help="Hand the decoder a linear prediction of this video embedding of the store, such as clip. Without "
    "it: the embedding of BOLD in the common space.",
)
@click.option("--seed", type=click.IntRange(0), default=ReconstructionSettings.seed, show_default=True)
@splits_to_test
@checkpoint_option
@device_option
def reconstruct_command(run: Path, store: str | Path, **options: Any) -> None:
    """Show what the BOLD of held-out windows of STORE says was seen, in pictures of other clips of the film.

    Nothing is generated: the model of RUN looks up the clips of a gallery, which holds nothing of the
    target's movie, and gives the nearest one's picture and the mean of the nearest few. A picture is the
    store's thumbnail of the second in the middle of its clip.

    SSIM, PSNR, correlation of pixels and the cosine of each video embedding in the store compare it with the
    truth. These say little by themselves, since pictures of one film are alike and blurred ones look good to
    PSNR: read them beside chance (the same lookup with BOLD of other moments), the gallery's mean (no BOLD at
    all), and the best that the gallery has. Two-way identification asks whether it is more like the truth
    than like another moment of the same movie.

    Writes RUN/reconstruction (of --split val RUN/reconstruction-val): reconstruction.json, tables, and a
    contact sheet for each experiment.
    """
    found = reconstruct(
        run,
        store,
        progress=lambda name, done, total: click.echo(f"{name}: movie {done} of {total}", err=True),
        save=False,
        **options,
    )
    console = Console()
    score_tables.show(found.results, found.reconstructor, console)
    found.save()
    console.print(f"wrote {found.folder}", soft_wrap=True)
