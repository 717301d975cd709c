"""The command `simtrain saliency`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simtrain.api.saliency import ANY, saliency
from simtrain.attribution.attention_maps import HEADS
from simtrain.attribution.methods import METHODS
from simtrain.cli.options import (
    Lags,
    checkpoint_option,
    device_option,
    map_options,
    run_argument,
    split_option,
    splits_to_test,
    store_argument,
)
from simtrain.data.experiments import EXPERIMENTS


@click.command("saliency")
@run_argument
@store_argument
@click.option("--method", type=click.Choice(METHODS), default=default(saliency, "method"), show_default=True)
@click.option(
    "--modality",
    metavar="NAME",
    help="Gradients are of the similarity to the true clip in it, such as video (default: the first).",
)
@click.option(
    "--heads",
    type=click.Choice(HEADS),
    default=default(saliency, "heads"),
    show_default=True,
    help="How attention's heads become one.",
)
@click.option(
    "--block",
    type=click.IntRange(0),
    help="Block of the encoder whose attention it is, from 0 (default: the last).",
)
@click.option("--by-head", is_flag=True, help="Of attention, also a map of each head.")
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=default(saliency, "steps"),
    show_default=True,
    help="Points of the integral of integrated gradients.",
)
@click.option("--by-vertex", is_flag=True, help="Gradients of each vertex, noisier than the mean of a patch.")
@click.option("--absolute", is_flag=True, help="Average magnitudes: of what speaks against the clip, too.")
@click.option(
    "--experiment",
    type=click.Choice([*EXPERIMENTS, ANY]),
    default=default(saliency, "experiment"),
    show_default=True,
    help=f"Whose windows; {ANY}: all, also those trained on.",
)
@split_option
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@click.option("--movie", metavar="NAME", help="Only this movie.")
@click.option("--seconds", type=Lags(), help="Only clips that begin in seconds A to B of the run.")
@click.option(
    "--windows", type=click.IntRange(1), metavar="N", help="At most N of each subject, spread evenly."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=default(saliency, "batch_size"),
    show_default=True,
    help="Windows in memory at once.",
)
@click.option("--by-frame", is_flag=True, help="Also a map of each frame of the windows.")
@click.option("--randomise", is_flag=True, help="Also with random weights, and how like that is.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=default(saliency, "seed"),
    show_default=True,
    help="Of the random weights.",
)
@map_options(default(saliency, "mesh"))
@click.option("--out", type=LOCAL, help="Folder to write (default: RUN/saliency, or saliency-val).")
@splits_to_test
@checkpoint_option
@device_option
def saliency_command(run: Path, store: str | Path, mesh: str, out: Path | None, **options: Any) -> None:
    """Map the parts of the cortex that the model of RUN relies on, in windows of STORE.

    Writes GIFTI and CIFTI for wb_view: the mean over subjects, and each subject's mean over windows.
    """
    found = saliency(
        run,
        store,
        mesh=mesh,
        out=out,
        progress=lambda subject, done, total: click.echo(f"{subject} ({done} of {total})"),
        **options,
    )
    if found.alike:
        click.echo("with random weights: " + ", ".join(f"{name} {r:.3f}" for name, r in found.alike.items()))
    if found.incomplete is not None:
        click.echo(f"integral: off by {found.incomplete:.2%} of the difference in similarity to the baseline")
    name = f"{found.method.stem}.{mesh}.dscalar.nii"
    click.echo(f"wrote {found.folder}; open {name} of it in wb_view, with the spheres beside it")
