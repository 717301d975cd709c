"""The command line: `simtrain fit` and `simtrain retrieve`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

from simdata.errors import UserError
from simtrain import config as configuration
from simtrain import distributed, maps, pretraining, report
from simtrain.baselines import experiments as baselines
from simtrain.config import AnyRecipe, Config, PretrainConfig
from simtrain.dataset import open_dataset, resolve
from simtrain.evaluate import retrieve
from simtrain.figures import require as require_figures
from simtrain.fit import fit as train
from simtrain.import_command import import_weights_command
from simtrain.initial import resolve_initial
from simtrain.options import Lags, Pool
from simtrain.patch_table import resolve_patches
from simtrain.predict import predict
from simtrain.protocol import NEGATIVES, Protocol
from simtrain.run import Run
from simtrain.windows import EXPERIMENTS

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
run_option = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Run folder; an unfinished run goes on."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="simdata")
def cli() -> None:
    """Train SIM on movie-watching fMRI, straight from the store that simdata builds."""


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@run_option
@click.option("--modalities", help="What to align, such as fmri,video (default: fmri,video,audio).")
@click.option(
    "--config",
    "name",
    help=f"Preset ({', '.join(configuration.presets())}) or YAML file (default: sim-tiny).",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as train.steps=1000."
)
@device_option
def fit(
    store: Path, out: Path, modalities: str | None, name: str | None, overrides: tuple[str, ...], device: str
) -> None:
    """Train on STORE; stop it at any time, and the same command goes on.

    On several GPUs: torchrun --nproc-per-node=4 -m simtrain fit STORE ...
    """
    dataset = open_dataset(store)

    def start() -> Run:
        config, initial = resolve_initial(_configuration(out, name, overrides, modalities), out)
        config, table = resolve_patches(config, out)
        return Run.start(out, resolve(config, dataset), dataset, initial, table)

    run = distributed.first_before_others(start)
    stopped = train(dataset, run, _device(device), _console())
    if stopped is not None:
        _say(f"stopped; go on with: {shlex.join([*_program(), 'fit', str(store), '--out', str(out)])}")
        sys.exit(128 + stopped)
    _say(f"trained {out}; test it with: {shlex.join(['simtrain', 'retrieve', str(out), str(store)])}")


@cli.command("pretrain")
@click.argument("store", type=click.Path(path_type=Path))
@run_option
@click.option(
    "--config",
    "name",
    help=f"Preset ({', '.join(configuration.presets(PretrainConfig))}) or YAML file (default: sim-tiny).",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as mae.mask=random."
)
@device_option
def pretrain_command(
    store: Path, out: Path, name: str | None, overrides: tuple[str, ...], device: str
) -> None:
    """Train the encoder alone on STORE, to fill in hidden patches of BOLD (vsMAE)."""
    dataset = open_dataset(store)

    def start() -> Run:
        config, table = resolve_patches(_configuration(out, name, overrides, kind=PretrainConfig), out)
        return Run.start(out, pretraining.resolve(config, dataset), dataset, table=table)

    run = distributed.first_before_others(start)
    stopped = pretraining.pretrain(dataset, run, _device(device), _console())
    if stopped is not None:
        _say(f"stopped; go on with: {shlex.join([*_program(), 'pretrain', str(store), '--out', str(out)])}")
        sys.exit(128 + stopped)
    command = ["simtrain", "fit", str(store), "--out", "RUN", "--set", f"model.init={out}"]
    _say(f"pretrained {out}; start from it with: {shlex.join(command)}")


@cli.command("reconstruct-maps")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write (default: RUN/maps).")
@click.option(
    "--windows", type=click.IntRange(1), default=4, show_default=True, help="How many, of validation."
)
@device_option
def reconstruct_maps(run: Path, store: Path, out: Path | None, windows: int, device: str) -> None:
    """Write what the model of RUN, a pretraining, makes of held-out windows of STORE: GIFTI for wb_view."""
    trained, out = Run.open(run, PretrainConfig), out or run / "maps"
    written = maps.write_reconstructions(trained, open_dataset(store), out, windows, _device(device))
    for name, correlation in written:
        click.echo(f"{name}: r = {correlation:.3f} over vertices that no visible patch shows")
    click.echo(f"wrote {out}; open L.sphere.surf.gii and any L.*.func.gii of it in wb_view")


@cli.command("retrieve")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--experiment",
    type=click.Choice([*EXPERIMENTS, "all"]),
    default="all",
    show_default=True,
    help="What was held out of training: subjects, scenes, or both.",
)
@click.option(
    "--pool",
    type=Pool(),
    default=32,
    show_default=True,
    help="Candidates, the true one included; movie: all clips of the tested window's movie not within 3 s.",
)
@click.option(
    "--clips", type=click.IntRange(1), default=100, show_default=True, help="Tested windows a draw."
)
@click.option(
    "--draws", type=click.IntRange(2), default=10, show_default=True, help="Draws of windows and pools."
)
@click.option("--lag", type=click.IntRange(0), help="Seconds from stimulus to BOLD (default: as trained).")
@click.option("--negatives", type=click.Choice(NEGATIVES), default=NEGATIVES[0], show_default=True)
@click.option(
    "--hard/--soft",
    help="Hard: the negatives nearest in time to the tested clip, but not within 3 s, in the same movie "
    "(the same film clip or its neighbours). Soft, the default: from anywhere.",
)
@click.option("--average-subjects", is_flag=True, help="Test the mean of the subjects' embeddings.")
@click.option(
    "--average-windows",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="K",
    help="Test means over K consecutive seconds of one film clip.",
)
@click.option("--lags", type=Lags(), help="Also top-1 at every lag from A to B s, such as 0:12.")
@click.option("--figures", is_flag=True, help="Also pictures, in RUN/retrieval (needs matplotlib).")
@click.option(
    "--shuffle", is_flag=True, help="Control: give every clip another's stimulus; must be at chance."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@device_option
def retrieve_command(
    run: Path,
    store: Path,
    experiment: str,
    pool: int,
    clips: int,
    draws: int,
    lag: int | None,
    negatives: str,
    hard: bool,
    average_subjects: bool,
    average_windows: int,
    lags: range | None,
    figures: bool,
    shuffle: bool,
    seed: int,
    device: str,
) -> None:
    """Test the model of RUN on STORE: which clip was seen, and which BOLD it gave rise to.

    Writes RUN/retrieval.json, and tables and figures to RUN/retrieval.
    """
    trained = Run.open(run)
    lag = trained.config.data.lag if lag is None else lag
    protocol = Protocol(
        pool=pool,
        clips=clips,
        draws=draws,
        lag=lag,
        negatives=negatives,
        shuffle=shuffle,
        seed=seed,
        hard=hard,
        average_subjects=average_subjects,
        average_windows=average_windows,
    )
    if figures:
        require_figures()
    dataset, chosen = open_dataset(store), None if experiment == "all" else experiment
    results = retrieve(trained, dataset, chosen, protocol, _device(device), lags or ())
    report.show(results, protocol, Console())
    report.save(run, results, protocol, dataset, figures)


# The same test needs the same options.
SHARED = {"experiment", *Protocol.__dataclass_fields__}


@cli.command("baseline", params=[param for param in retrieve_command.params if param.name in SHARED])
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder; results of each kind are replaced."
)
@click.option(
    "--kind",
    type=click.Choice([*baselines.KINDS, "all"]),
    default="all",
    show_default=True,
    help="Ridge regression to stimulus embeddings, PCA with SIM's projectors, or how far subjects agree.",
)
@click.option("--modalities", help="Whose embeddings to use, such as fmri,video (default: fmri,video,audio).")
@click.option(
    "--config",
    "name",
    help="Preset or YAML file as for fit: window and encoders of all kinds, training of PCA's projectors.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as train.steps=1000."
)
@click.option(
    "--ico",
    type=click.IntRange(0, 5),
    default=baselines.Settings.ico,
    show_default=True,
    help="Ridge and ceiling see means over the faces of this icosphere.",
)
@click.option(
    "--delays",
    type=Lags(),
    default=":".join(map(str, baselines.Settings.delays)),
    show_default=True,
    help="Ridge sees every second from A to B s after the lag.",
)
@click.option(
    "--targets", type=click.IntRange(1), help="Ridge predicts so many main components (default: all)."
)
@click.option(
    "--components",
    type=click.IntRange(1),
    default=baselines.Settings.components,
    show_default=True,
    help="Main axes of PCA.",
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=baselines.Settings.samples,
    show_default=True,
    help="Training windows that PCA's axes are fitted on.",
)
@device_option
def baseline_command(
    store: Path,
    out: Path,
    kind: str,
    modalities: str | None,
    name: str | None,
    overrides: tuple[str, ...],
    ico: int,
    delays: range,
    targets: int | None,
    components: int,
    samples: int,
    device: str,
    experiment: str,
    **protocol: Any,
) -> None:
    """Fit baselines on the training set of STORE and test them as `simtrain retrieve` tests a model.

    Writes FOLDER/KIND/retrieval.json, its tables, what was fitted, and fit.json.
    """
    dataset = open_dataset(store)
    config = resolve(configuration.load(name or configuration.DEFAULT_PRESET, overrides, modalities), dataset)
    settings = baselines.Settings(ico, (delays[0], delays[-1]), targets, components, samples)
    if protocol["lag"] is None:
        protocol["lag"] = config.data.lag
    test, fits = Protocol(**protocol), baselines.Baselines(dataset, config, settings, _device(device))
    console = Console()
    for one in baselines.KINDS if kind == "all" else [kind]:
        fitted, notes = fits.fit(one, out / one)
        console.print(f"{one}: {baselines.shown(notes)}", soft_wrap=True)
        results = fits.test(fitted, None if experiment == "all" else experiment, test)
        report.show(results, test, console)
        report.save(out / one, results, test, dataset, False)


@cli.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Zarr store to write.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only this subject; may be given repeatedly."
)
@click.option("--hemispheres", is_flag=True, help="Also the embedding of each hemisphere.")
@device_option
def predict_command(
    run: Path, store: Path, out: Path, subjects: tuple[str, ...], hemispheres: bool, device: str
) -> None:
    """Write the embeddings of the model of RUN for every usable window of STORE."""
    predict(
        Run.open(run),
        open_dataset(store),
        out,
        _device(device),
        subjects=subjects,
        by_hemisphere=hemispheres,
        progress=lambda subject, done, total: click.echo(f"{subject} ({done} of {total})"),
    )
    click.echo(f"wrote {out}; open it with: xr.open_zarr({str(out)!r})")


cli.add_command(import_weights_command)


def _configuration(
    out: Path,
    name: str | None,
    overrides: tuple[str, ...],
    modalities: str | None = None,
    kind: type[AnyRecipe] = Config,
) -> AnyRecipe:
    """What the options ask for; without any, an existing run's own."""
    if (out / "config.yaml").exists() and name is None and not overrides and modalities is None:
        return Run.open(out, kind).config
    return configuration.load(name or configuration.DEFAULT_PRESET, overrides, modalities, kind)


def _console() -> Console:
    """Of several processes, the first one speaks for all."""
    return Console(quiet=distributed.rank() != 0)


def _say(text: str) -> None:
    if distributed.rank() == 0:
        click.echo(text)


def _program() -> list[str]:
    """How simtrain was started."""
    if distributed.size() == 1:
        return ["simtrain"]
    return ["torchrun", f"--nproc-per-node={os.environ['LOCAL_WORLD_SIZE']}", "-m", "simtrain"]


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use auto or cpu")
    return distributed.own_device(
        torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    )


def main() -> None:
    """Entry point: a user's mistake is a message and status 1, not a traceback."""
    try:
        with distributed.joined():
            cli(prog_name="simtrain")
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
