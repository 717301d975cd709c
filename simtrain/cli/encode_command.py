"""The command `simtrain encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simtrain.api.encoding_model import LEVEL, encode
from simtrain.cli.options import Lags, device_option, map_options, set_option, splits_option, store_argument
from simtrain.data.experiments import TESTED_SETS
from simtrain.encoding.models import RIDGES


@click.command("encode")
@store_argument
@click.option("--out", required=True, type=LOCAL, help="Folder to write.")
@click.option(
    "--features",
    metavar="NAME,...",
    default=default(encode, "features"),
    show_default=True,
    help="The feature spaces that predict BOLD: embeddings by name, such as video_clip,audio_wav2vec2.",
)
@click.option(
    "--ridge",
    type=click.Choice(RIDGES),
    default=default(encode, "ridge"),
    show_default=True,
    help="One penalty for all feature spaces, or one for each.",
)
@click.option(
    "--mixes",
    type=int,
    default=default(encode, "mixes"),
    show_default=True,
    help="How many relations of the spaces' penalties banded ridge tries.",
)
@click.option("--config", help="Preset or YAML file as for fit: lag and hemispheres (default: sim-tiny).")
@set_option("data.lag=5")
@click.option(
    "--delays",
    type=Lags(),
    default=":".join(map(str, default(encode, "delays"))),
    show_default=True,
    help="BOLD may follow the beginning of a clip by every second from A to B after the lag.",
)
@splits_option("the store's own")
@click.option(
    "--split",
    type=click.Choice(TESTED_SETS),
    default=default(encode, "split"),
    show_default=True,
    help="The set of scenes to test in.",
)
@click.option(
    "--shifts",
    type=int,
    default=default(encode, "shifts"),
    show_default=True,
    help="How many random shifts of the film against BOLD p is worked out by; 0: no p.",
)
@click.option(
    "--partition",
    is_flag=True,
    help="Part R2 into what is unique to each feature space, and what several share.",
)
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@map_options(default(encode, "mesh"))
@device_option
def encode_command(
    store: str | Path, out: Path, mesh: str, config: str | None, delays: range, **options: Any
) -> None:
    """Predict the BOLD of every vertex of STORE from the film's embeddings, and map how well.

    A ridge regression for each subject, fitted in training scenes and tested in test scenes. Writes GIFTI and
    CIFTI for wb_view, of the mean over subjects and of each: Pearson's r of predicted and measured BOLD, R2,
    p by shifts of the film and q of the false discovery rate, and where the film repeats a clip the
    explainable variance and the normalised r.
    """
    found = encode(
        store,
        out,
        mesh=mesh,
        config=config or default(encode, "config"),
        delays=(delays[0], delays[-1]),
        progress=lambda subject, done, total: click.echo(f"{subject} ({done} of {total})"),
        **options,
    )
    click.echo(f"{found.record['split']} scenes, mean over subjects, over the cortex:")
    for measure in map(str, found.mean):
        quantiles = ", ".join(f"{name} {value:.3f}" for name, value in found.record[measure].items())
        click.echo(f"{measure}: {quantiles or 'nowhere'}")
    for measure, shares in found.record["significant"].items():
        click.echo(f"{measure} <= {LEVEL}: {100 * shares['mean']:.1f} % of vertices")
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(
        f"wrote {out}; open {found.stem}.r.{mesh}.dscalar.nii of it in wb_view, with the spheres beside it"
    )
