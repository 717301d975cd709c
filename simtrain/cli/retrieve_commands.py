"""The commands `simtrain retrieve` and `simtrain baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from simdata.common.local_path import LOCAL
from simtrain.api import retrieval
from simtrain.baselines.experiments import ICO, INPUTS, KINDS, BaselineSettings, shown
from simtrain.cli.options import (
    POOL,
    SECONDS,
    Draws,
    Lags,
    Weights,
    checkpoint_option,
    device_option,
    metric_option,
    modalities_option,
    movie_option,
    protocol_option,
    run_argument,
    set_option,
    split_option,
    splits_option,
    splits_to_test,
    store_argument,
    subject_option,
    tested_option,
)
from simtrain.config import composition
from simtrain.data.dataset import open_dataset
from simtrain.data.experiments import ALL
from simtrain.data.sets import with_splits
from simtrain.retrieval import report
from simtrain.retrieval.named_protocols import OURS
from simtrain.retrieval.protocol import CLIPS_OF, DRAWN_CLIPS, HEMISPHERES, NEGATIVES, Protocol


@click.command("retrieve")
@run_argument
@store_argument
@tested_option
@split_option
@splits_to_test
@protocol_option("What holds for the options below that are not given.", OURS)
@click.option(
    "--pool",
    type=POOL,
    show_default=f"ours: {Protocol.pool}",
    help="Candidates, the true one included; movie: all clips of the tested window's movie not within 3 s; "
    "or by modality, such as video=64,audio=32.",
)
@click.option(
    "--clips",
    type=click.IntRange(1),
    show_default=f"all; {DRAWN_CLIPS} if windows are drawn",
    help="Tested windows a draw.",
)
@click.option(
    "--clips-of",
    type=click.Choice(CLIPS_OF),
    show_default=f"ours: {Protocol.clips_of}",
    help="Whether so many windows are tested of all together, or of each run (subject and movie), as "
    "published.",
)
@click.option(
    "--draws",
    type=Draws(),
    show_default=f"ours: {Protocol.draws}",
    help="Draws of windows and pools, 2 or more; with --clips-of run 1 or more. exact: test every window, "
    "and work out what is expected over all pools.",
)
@click.option("--lag", type=click.IntRange(0), help="Seconds from stimulus to BOLD (default: as trained).")
@click.option(
    "--negatives",
    type=click.Choice(NEGATIVES),
    show_default=f"ours: {Protocol.negatives}",
    help="From anywhere in the tested clip's movie but within 3 s of it; from its other film clips; from "
    "these and the test-retest clip, as published; from the same film clip; the nearest in time; or from "
    "other movies.",
)
@click.option("--average-subjects", is_flag=True, help="Test the mean of the subjects' embeddings.")
@click.option(
    "--average-windows",
    type=click.IntRange(1),
    default=Protocol.average_windows,
    show_default=True,
    metavar="K",
    help="Test means over K consecutive seconds of one film clip.",
)
@click.option(
    "--hemispheres",
    type=click.Choice(HEMISPHERES),
    show_default=f"ours: {Protocol.hemispheres}",
    help="Test the mean of a window's hemispheres, each by itself, as published, or one alone.",
)
@click.option(
    "--gap",
    type=SECONDS,
    show_default="ours: 3, or what a window covers",
    help="Seconds between a tested clip and negatives of its movie, at least, or by modality, such as "
    "video=4,audio=1.",
)
@click.option(
    "--joint",
    type=Weights(),
    show_default=f"ours: {Protocol.joint}",
    help="Weights of all modalities of the stimulus in one query, such as fmri->video+audio: the best in the "
    "validation set, all alike, or given, such as video=0.7,audio=0.3; none: no such query.",
)
@subject_option
@movie_option
@click.option(
    "--lags",
    type=Lags(),
    help="Also top-1 at every lag from A to B s, such as 0:12; then --split is val unless given.",
)
@click.option(
    "--best-and-worst",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Also pictures of the N clips retrieved best and the N worst, beside what was retrieved.",
)
@click.option("--figures", is_flag=True, help="Also pictures, in RUN/retrieval (needs matplotlib).")
@click.option(
    "--shuffle", is_flag=True, help="Control: give every clip another's stimulus; must be at chance."
)
@metric_option
@checkpoint_option
@click.option("--seed", type=click.IntRange(0), default=Protocol.seed, show_default=True)
@click.option("--out", type=LOCAL, help="Folder to write to (default: RUN).")
@device_option
def retrieve_command(
    run: Path,
    store: str | Path,
    experiment: str,
    lags: range | None,
    figures: bool,
    best_and_worst: int,
    checkpoint: str,
    out: Path | None,
    device: str,
    **test: Any,
) -> None:
    """Test the model of RUN on STORE: which clip was seen, and which BOLD it gave rise to.

    Writes retrieval.json, and tables and figures to the folder retrieval, both in RUN or --out. Those of
    --split val are retrieval-val.json and retrieval-val.
    """
    found = retrieval.retrieve(
        run,
        store,
        experiment=experiment,
        lags=lags,
        figures=figures,
        best_and_worst=best_and_worst,
        checkpoint=checkpoint,
        out=out,
        device=device,
        save=False,
        **test,
    )
    report.show(found.results, found.protocol, Console(), found.weights)
    found.save(figures)


# The same test needs the same options.
SHARED = {"experiment", "protocol", *Protocol.__dataclass_fields__}


@click.command("baseline", params=[param for param in retrieve_command.params if param.name in SHARED])
@store_argument
@click.option("--out", required=True, type=LOCAL, help="Folder; results of each kind are replaced.")
@click.option(
    "--kind",
    type=click.Choice([*KINDS, ALL]),
    default=ALL,
    show_default=True,
    help="Ridge regression to stimulus embeddings, PCA with SIM's projectors, or the same with other "
    "subjects' mean BOLD in place of the film.",
)
@modalities_option
@click.option(
    "--config",
    help="Preset or YAML file as for fit: window and encoders of all kinds, training of the projectors.",
)
@set_option("train.steps=1000")
@splits_option("the store's own")
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default=BaselineSettings.inputs,
    show_default=True,
    help="Ridge sees means of patches, or every vertex as data.normalise has it.",
)
@click.option(
    "--ico",
    type=click.IntRange(0, 5),
    show_default=str(ICO),
    help="Ridge sees means over the faces of this icosphere.",
)
@click.option(
    "--delays",
    type=Lags(),
    default=":".join(map(str, BaselineSettings.delays)),
    show_default=True,
    help="Ridge sees every second from A to B s after the lag.",
)
@click.option(
    "--targets", type=click.IntRange(1), help="Ridge predicts so many main components (default: all)."
)
@click.option(
    "--components",
    type=click.IntRange(1),
    default=BaselineSettings.components,
    show_default=True,
    help="Main axes of PCA and between subjects.",
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=BaselineSettings.samples,
    show_default=True,
    help="Training windows that main axes are fitted on, and ridge of vertices, at most.",
)
@device_option
def baseline_command(
    store: str | Path,
    out: Path,
    kind: str,
    modalities: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    splits: str | None,
    inputs: str,
    ico: int | None,
    delays: range,
    targets: int | None,
    components: int,
    samples: int,
    device: str,
    experiment: str,
    **test: Any,
) -> None:
    """Fit baselines on the training set of STORE and test them as `simtrain retrieve` tests a model.

    Writes FOLDER/KIND/retrieval.json, its tables, what was fitted, and fit.json.
    """
    chosen = composition.load(config or composition.DEFAULT_PRESET, overrides, modalities)
    settings = BaselineSettings(inputs, ico, (delays[0], delays[-1]), targets, components, samples)
    kinds, console = KINDS if kind == ALL else [kind], Console()
    dataset = with_splits(open_dataset(store), splits)
    of_each = retrieval.tested_baselines(dataset, out, kinds, chosen, settings, experiment, test, device)
    for one, tested in of_each:
        console.print(f"{one}: {shown(tested.notes)}", soft_wrap=True)
        report.show(tested.results, tested.protocol, console)
