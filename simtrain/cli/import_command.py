"""The command `simtrain import-weights`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from simdata.common.local_path import LOCAL
from simtrain.api.published_weights import import_weights
from simtrain.cli.options import set_option, store_argument
from simtrain.models.published_frames import MOST, TEMPORAL_REPS, TemporalRep
from simtrain.training.initial_weights import start_options
from simtrain.training.kept_store import SPLITS


@click.command("import-weights")
@store_argument
@click.option("--out", required=True, type=LOCAL, help="Run folder to make.")
@click.option("--fmri-encoder", required=True, type=LOCAL, help="fmri-encoder-best.pt, or one of vsMAE's.")
@click.option("--fmri-wrapper", type=LOCAL, help="fmri-wrapper-best.pt, the projector of fMRI.")
@click.option("--video-wrapper", type=LOCAL, help="video-wrapper-best.pt, that of video.")
@click.option("--audio-wrapper", type=LOCAL, help="audio-wrapper-best.pt, that of audio.")
@click.option(
    "--patches",
    type=LOCAL,
    help="The table that the weights were made with, such as triangle_indices_ico_6_sub_ico_3.csv.",
)
@click.option(
    "--temporal-rep",
    type=click.Choice(TEMPORAL_REPS),
    help="fMRI.temporal_rep of the published training's hparams.yml (default: what the weights show).",
)
@click.option(
    "--frames",
    type=click.IntRange(1, MOST),
    help="fMRI.nbr_frames of the published training's hparams.yml (default: what the weights show).",
)
@click.option("--heads", type=click.IntRange(1), help="Attention heads (default: of 64 dimensions each).")
@click.option(
    "--splits",
    metavar="NAME|FILE",
    help="Whose training subjects and scenes the weights have seen (default: published-code in a store of "
    "hcp7t-movie; in others that is not known).",
)
@set_option("data.video=videomae")
def import_weights_command(
    store: str | Path,
    out: Path,
    fmri_encoder: Path,
    fmri_wrapper: Path | None,
    video_wrapper: Path | None,
    audio_wrapper: Path | None,
    patches: Path | None,
    temporal_rep: TemporalRep | None,
    frames: int | None,
    heads: int | None,
    splits: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Make a run of published weights of SIM (ICLR 2025) or vsMAE, to test on STORE or to train further.

    With the wrappers, `simtrain retrieve` tests it. The encoder alone can start a `simtrain fit`.
    """
    run = import_weights(
        store,
        out,
        fmri_encoder,
        fmri_wrapper=fmri_wrapper,
        video_wrapper=video_wrapper,
        audio_wrapper=audio_wrapper,
        patches=patches,
        temporal_rep=temporal_rep,
        frames=frames,
        heads=heads,
        splits=splits,
        overrides=overrides,
    )
    for note in run.notes:
        click.echo(f"Note: {note}", err=True)
    test = ["simtrain", "retrieve", str(out), str(store)]
    start = ["simtrain", "fit", str(store), "--out", "RUN", *start_options(run.config, run.path)]
    if (run.path / SPLITS).exists():
        start += ["--splits", str(run.path / SPLITS)]
    tested = f"test it with: {shlex.join(test)}\n" if fmri_wrapper else ""
    click.echo(f"imported {out}; {tested}start from its encoder with: {shlex.join(start)}")
