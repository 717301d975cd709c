"""The command `simtrain reconstruct`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from simdata.common.errors import UserError
from simtrain.cli.options import device_option, experiment_option, run_argument, store_argument
from simtrain.common.device import torch_device
from simtrain.data.dataset import open_dataset
from simtrain.reconstruction import contact_sheet
from simtrain.reconstruction import score_tables as reconstruction_report
from simtrain.reconstruction.decoders import load_decoder
from simtrain.reconstruction.experiment import Reconstruction, ReconstructionSettings
from simtrain.reconstruction.gallery import EXCLUDE, SCENES
from simtrain.retrieval import tables
from simtrain.retrieval.figures import require as require_figures
from simtrain.training.run_folder import Run


@click.command("reconstruct")
@run_argument
@store_argument
@experiment_option
@click.option(
    "--exclude",
    type=click.Choice(EXCLUDE),
    default=EXCLUDE[0],
    show_default=True,
    help="What of the target is not in its gallery: its movie, or only its film clip.",
)
@click.option(
    "--gallery",
    "scenes",
    type=click.Choice(SCENES),
    default=SCENES[0],
    show_default=True,
    help="Clips of training scenes, or of all scenes that are in a set.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="K",
    help="Clips in the weighted mean.",
)
@click.option("--lag", type=click.IntRange(0), help="Seconds from stimulus to BOLD (default: as trained).")
@click.option("--average-subjects", is_flag=True, help="Look up the mean of the subjects' embeddings.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=1,
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
    "features",
    metavar="ENCODER",
    help="Hand the decoder a linear prediction of this video embedding of the store, such as clip. Without "
    "it: the embedding of BOLD in the common space.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@device_option
def reconstruct_command(
    run: Path,
    store: str | Path,
    experiment: str,
    exclude: str,
    scenes: str,
    neighbours: int,
    lag: int | None,
    average_subjects: bool,
    every: int,
    sheet: int,
    decoder: str | None,
    features: str | None,
    seed: int,
    device: str,
) -> None:
    """Show what the BOLD of held-out windows of STORE says was seen, in pictures of other clips of the film.

    Nothing is generated: the model of RUN looks up the clips of a gallery, which holds nothing of the
    target's movie, and gives the nearest one's picture and the mean of the nearest few. A picture is the
    store's thumbnail of the second in the middle of its clip.

    SSIM, PSNR, correlation of pixels and the cosine of each video embedding in the store compare it with the
    truth. These say little by themselves, since pictures of one film are alike and blurred ones look good to
    PSNR: read them beside chance (the same lookup with BOLD of other moments), the gallery's mean (no BOLD at
    all), and the best that the gallery has. Two-way identification asks whether it is more like the truth
    than like another moment of the same movie.

    Writes RUN/reconstruction: reconstruction.json, tables, and a contact sheet for each experiment.
    """
    if sheet:
        require_figures("--sheet", "give --sheet 0")
    if features is not None and decoder is None:
        raise UserError("--decoder-features without --decoder: there is no decoder to hand them to")
    trained, dataset = Run.open(run), open_dataset(store)
    settings = ReconstructionSettings(
        lag=trained.config.data.lag if lag is None else lag,
        exclude=exclude,
        scenes=scenes,
        neighbours=neighbours,
        average_subjects=average_subjects,
        every=every,
        seed=seed,
        panels=sheet,
        decoder=decoder,
        features=features,
    )
    made = Reconstruction(
        trained, dataset, settings, torch_device(device), None if decoder is None else load_decoder(decoder)
    )
    results = made.experiments(
        None if experiment == "all" else experiment,
        progress=lambda name, movies: click.echo(f"{name}: movie {movies}", err=True),
    )
    console, folder = Console(), run / "reconstruction"
    reconstruction_report.show(results, made, console)
    rows = reconstruction_report.tables(results, dataset, seed)
    tables.write(folder, rows)
    reconstruction_report.write(folder / "reconstruction.json", rows, results, made, dataset)
    contact_sheet.write_all(folder, results, dataset, settings)
    console.print(f"wrote {folder}", soft_wrap=True)
