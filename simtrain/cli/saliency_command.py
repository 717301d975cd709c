"""The command `simtrain saliency`."""

from __future__ import annotations

from pathlib import Path

import click

from simdata.common.local_path import LOCAL
from simtrain.attribution import map_files as files
from simtrain.attribution.attention_maps import HEADS
from simtrain.attribution.maps import compute, correlations, randomised
from simtrain.attribution.methods import METHODS, Method, modality_of
from simtrain.cli.options import Lags, device_option, run_argument, store_argument
from simtrain.common.device import torch_device
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import EXPERIMENTS
from simtrain.retrieval.figures import require as require_figures
from simtrain.retrieval.selection import Selection
from simtrain.surface.parcels import read_parcels
from simtrain.surface.vertices import MESHES, STORED
from simtrain.training.run_folder import Run
from simtrain.training.trained_model import load_learner

ANY = "any"


@click.command("saliency")
@run_argument
@store_argument
@click.option("--method", type=click.Choice(METHODS), default="integrated-gradients", show_default=True)
@click.option(
    "--modality",
    metavar="NAME",
    help="Gradients are of the similarity to the true clip in it, such as video (default: the first).",
)
@click.option(
    "--heads",
    type=click.Choice(HEADS),
    default=HEADS[0],
    show_default=True,
    help="How attention's heads become one.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=Method.steps,
    show_default=True,
    help="Points of the integral of integrated gradients.",
)
@click.option("--by-vertex", is_flag=True, help="Gradients of each vertex, noisier than the mean of a patch.")
@click.option("--absolute", is_flag=True, help="Average magnitudes: of what speaks against the clip, too.")
@click.option(
    "--experiment",
    type=click.Choice([*EXPERIMENTS, ANY]),
    default="new-subjects",
    show_default=True,
    help=f"Whose windows; {ANY}: all, also those trained on.",
)
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@click.option("--movie", metavar="NAME", help="Only this movie.")
@click.option("--seconds", type=Lags(), help="Only clips that begin in seconds A to B of the run.")
@click.option(
    "--windows", type=click.IntRange(1), metavar="N", help="At most N of each subject, spread evenly."
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Windows in memory at once."
)
@click.option("--by-frame", is_flag=True, help="Also a map of each frame of the windows.")
@click.option("--randomise", is_flag=True, help="Also with random weights, and how like that is.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random weights.")
@click.option(
    "--mesh",
    type=click.Choice(MESHES),
    default=STORED,
    show_default=True,
    help="To write on: the store's, or HCP's, which opens on HCP's own surfaces.",
)
@click.option(
    "--parcels",
    "parcel_files",
    type=LOCAL,
    multiple=True,
    help="Atlas on that mesh, for a table: dlabel.nii, or label.gii of each hemisphere (give both).",
)
@click.option("--figures", is_flag=True, help="Also a picture (needs matplotlib).")
@click.option(
    "--surface",
    "surface_files",
    type=LOCAL,
    multiple=True,
    help="Draw on this surf.gii on that mesh, such as HCP's inflated (give both hemispheres').",
)
@click.option("--out", type=LOCAL, help="Folder to write (default: RUN/saliency).")
@device_option
def saliency_command(
    run: Path,
    store: str | Path,
    method: str,
    modality: str | None,
    heads: str,
    steps: int,
    by_vertex: bool,
    absolute: bool,
    experiment: str,
    subjects: tuple[str, ...],
    movie: str | None,
    seconds: range | None,
    windows: int | None,
    batch_size: int,
    by_frame: bool,
    randomise: bool,
    seed: int,
    mesh: str,
    parcel_files: tuple[Path, ...],
    figures: bool,
    surface_files: tuple[Path, ...],
    out: Path | None,
    device: str,
) -> None:
    """Map the parts of the cortex that the model of RUN relies on, in windows of STORE.

    Writes GIFTI and CIFTI for wb_view: the mean over subjects, and each subject's mean over windows.
    """
    if figures:
        require_figures()
    trained, dataset, out = Run.open(run), open_dataset(store), out or run / "saliency"
    surfaces = files.read_surfaces(surface_files, mesh)
    parcels = read_parcels(parcel_files, len(surfaces["L"][0])) if parcel_files else None
    how = Method(method, modality_of(trained, method, modality), heads, steps, by_vertex, absolute)
    if by_frame:
        how.must_tell_frames_apart(trained.config.model.temporal)
    which = Selection(None if experiment == ANY else experiment, subjects, movie, seconds, windows)
    chosen = which.windows(trained, dataset)
    learner = load_learner(trained, dataset, torch_device(device))
    found = compute(
        learner,
        trained,
        dataset,
        chosen,
        how,
        batch_size,
        lambda subject, done, total: click.echo(f"{subject} ({done} of {total})"),
    )
    content, random = files.record(trained, dataset, how, which, found), None
    if randomise:
        fresh = randomised(learner, trained, dataset, seed)
        random = compute(fresh, trained, dataset, chosen, how, batch_size)
        alike = correlations(found.mean, random.mean, how.signed)
        content["random_weights"] = {"seed": seed, **alike}
        click.echo("with random weights: " + ", ".join(f"{name} {r:.3f}" for name, r in alike.items()))
    if found.incomplete is not None:
        click.echo(f"integral: off by {found.incomplete:.2%} of the difference in similarity to the baseline")
    files.write(
        out,
        how.stem,
        files.named_maps(found, random, by_frame),
        mesh,
        parcels=parcels,
        surfaces=surfaces if figures else None,
        title=f"{run.name}: {how}\n{experiment}, {len(found.subjects)} subjects, {len(chosen)} windows",
        label=how.unit,
        record=content,
    )
    click.echo(
        f"wrote {out}; open {how.stem}.{mesh}.dscalar.nii of it in wb_view, with the spheres beside it"
    )
