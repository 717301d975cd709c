"""The command `simtrain encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simtrain.api.encoding_model import encode
from simtrain.cli.options import Lags, device_option, map_options, set_option, splits_option, store_argument


@click.command("encode")
@store_argument
@click.option("--out", required=True, type=LOCAL, help="Folder to write.")
@click.option(
    "--modalities",
    default=default(encode, "modalities"),
    show_default=True,
    help="fmri and the embeddings that predict it; several are put beside each other.",
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
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@map_options(default(encode, "mesh"))
@device_option
def encode_command(
    store: str | Path, out: Path, mesh: str, config: str | None, delays: range, **options: Any
) -> None:
    """Predict the BOLD of every vertex of STORE from the film's embeddings, and map how well.

    A ridge regression for each subject, fitted in training scenes and tested in test scenes. Writes GIFTI and
    CIFTI for wb_view: correlations of predicted and measured BOLD, their mean and each subject's.
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
    quantiles = ", ".join(f"{name} {r:.3f}" for name, r in found.record["r"].items())
    click.echo(f"r in test scenes, mean over subjects, over the cortex: {quantiles}")
    click.echo(f"wrote {out}; open encoding.{mesh}.dscalar.nii of it in wb_view, with the spheres beside it")
