"""The command `simdata demo`."""

from __future__ import annotations

from pathlib import Path

import click

from simdata.common.errors import UserError
from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simdata.synthetic.demo import KINDS, write_demo
from simdata.synthetic.likeness import LIKENESSES
from simdata.synthetic.study.properties import ALL, PROPERTIES


def _of_kinds(what: str) -> str:
    """What is the default of each kind, for --help."""
    return "default: " + ", ".join(f"{getattr(kind, what)} ({name})" for name, kind in KINDS.items())


@click.command("demo")
@click.argument("folder", type=LOCAL)
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default=default(write_demo, "kind"),
    show_default=True,
    help="What is learnt in a minute, or what compares methods (docs/demo.md).",
)
@click.option(
    "--like",
    type=click.Choice(list(LIKENESSES)),
    help="In the layout of a data set, at most 4 subjects: FOLDER/bids and FOLDER/movies (docs/datasets).",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Choice([*PROPERTIES, ALL]),
    help="A property of the study to turn off (may be repeated).",
)
@click.option("--subjects", type=click.IntRange(min=2), help=f"How many; {_of_kinds('subjects')}.")
@click.option("--density", type=click.Choice(["59k", "32k"]), help=f"Of the meshes; {_of_kinds('density')}.")
@click.option("--seed", type=int, default=default(write_demo, "seed"), show_default=True)
def demo_command(
    folder: Path,
    kind: str,
    like: str | None,
    without: tuple[str, ...],
    subjects: int | None,
    density: str | None,
    seed: int,
) -> None:
    """Write a synthetic miniature of the release: FOLDER/hcp and FOLDER/movies.

    Real CIFTI-2 and mp4 files under the release's names, with a known response to the films planted in
    the noise. Build it with the catalog "demo", or "demo-study" for the study, or that of the data set that
    it is like.
    """
    if like is not None:
        from simdata.synthetic.likeness_release import write_like

        if without or density or kind != default(write_demo, "kind"):
            raise UserError("`like` has its own meshes and properties: leave out kind, without and density")
        write_like(folder, like, subjects=subjects, seed=seed, progress=click.echo)
        return
    write_demo(
        folder,
        kind=kind,
        without=without,
        subjects=subjects,
        density=density,
        seed=seed,
        progress=click.echo,
    )
