"""The commands that write what a model makes of a store: `simtrain predict` and `reconstruct-maps`."""

from __future__ import annotations

from pathlib import Path

import click

from simdata.common.local_path import LOCAL
from simtrain.api import prediction
from simtrain.cli.options import (
    checkpoint_option,
    device_option,
    run_argument,
    splits_to_test,
    store_argument,
)
from simtrain.common.device import torch_device
from simtrain.data.dataset import open_dataset
from simtrain.training import pretraining_maps as maps
from simtrain.training.run_folder import PretrainRun


@click.command("reconstruct-maps")
@run_argument
@store_argument
@click.option("--out", type=LOCAL, help="Folder to write (default: RUN/maps).")
@click.option(
    "--windows", type=click.IntRange(1), default=4, show_default=True, help="How many, of validation."
)
@splits_to_test
@checkpoint_option
@device_option
def reconstruct_maps_command(
    run: Path,
    store: str | Path,
    out: Path | None,
    windows: int,
    splits: str | None,
    checkpoint: str,
    device: str,
) -> None:
    """Write what the model of RUN, a pretraining, makes of held-out windows of STORE: GIFTI for wb_view."""
    trained, out = PretrainRun.open(run, checkpoint), out or run / "maps"
    dataset = trained.divided(open_dataset(store), splits)
    written = maps.write_reconstructions(trained, dataset, out, windows, torch_device(device))
    for name, correlation in written:
        click.echo(f"{name}: r = {correlation:.3f} over vertices that no visible patch shows")
    click.echo(f"wrote {out}; open L.sphere.surf.gii and any L.*.func.gii of it in wb_view")


@click.command("predict")
@run_argument
@store_argument
@click.option("--out", required=True, type=LOCAL, help="Zarr store to write.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@click.option("--by-hemisphere", is_flag=True, help="Also the embedding of each hemisphere.")
@click.option("--tr", type=float, metavar="S", help="Volumes of this TR in place of seconds.")
@click.option(
    "--onset", type=float, default=0.0, metavar="S", help="With --tr: when the film began in the scan."
)
@splits_to_test
@checkpoint_option
@device_option
def predict_command(
    run: Path,
    store: str | Path,
    out: Path,
    subjects: tuple[str, ...],
    by_hemisphere: bool,
    tr: float | None,
    onset: float,
    splits: str | None,
    checkpoint: str,
    device: str,
) -> None:
    """Write the embeddings of the model of RUN for every usable window of STORE."""
    prediction.predict(
        run,
        store,
        out,
        subjects=subjects,
        by_hemisphere=by_hemisphere,
        tr=tr,
        onset=onset,
        splits=splits,
        checkpoint=checkpoint,
        device=device,
        progress=lambda subject, done, total: click.echo(f"{subject} ({done} of {total})"),
    ).close()
    click.echo(f"wrote {out}; open it with: xr.open_zarr({str(out)!r})")
