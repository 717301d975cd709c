"""The command `simtrain adapt`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from simdata.common.local_path import LOCAL
from simtrain.api.adaptation import adapt
from simtrain.cli.options import device_option, run_argument, store_argument


@click.command("adapt")
@run_argument
@store_argument
@click.option("--subject", required=True, metavar="ID", help="The new subject, not one of those trained on.")
@click.option("--out", required=True, type=LOCAL, help="Folder of the adapted run.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Of the subject's BOLD, the first that answer training scenes (default: all that do).",
)
@device_option
def adapt_command(
    run: Path, store: str | Path, subject: str, out: Path, minutes: float | None, device: str
) -> None:
    """Adapt the model of RUN to a new subject of STORE, with minutes of their BOLD.

    The subject's BOLD is aligned with what the training subjects answered to the same film; the model stays.
    """
    found = adapt(run, store, subject, out, minutes=minutes, device=device).adaptation
    assert found is not None
    before, after = (found.losses[when] for when in ("before", "after"))
    click.echo(
        f"{found}, {len(found.others)} others: loss in seconds left out {before:.3f}, aligned {after:.3f}"
    )
    if found.penalty is None:
        click.echo("Note: no alignment did better than none, so that the BOLD stays as it is", err=True)
    test = shlex.join(["simtrain", "retrieve", str(out), str(store)])
    click.echo(f"wrote {out}; test it in new scenes with: {test}")
