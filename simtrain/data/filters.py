"""Windows of some subjects and movies, by their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset


def narrowed(
    windows: np.ndarray, dataset: Dataset, subjects: Sequence[str] = (), movies: Sequence[str] = ()
) -> np.ndarray:
    """The ``windows`` (WINDOW) of these subjects in these movies; none named: of all.

    Raises
    ------
    UserError
        If the store lacks one.
    """
    kept = np.ones(len(windows), bool)
    for kind, wanted, known in (
        ("subject", subjects, dataset.subjects),
        ("movie", movies, dataset.movies),
    ):
        if wanted:
            kept &= np.isin(windows[kind], positions(kind, wanted, known, dataset))
    return windows[kept]


def positions(kind: str, wanted: Sequence[str], known: Sequence[str], dataset: Dataset) -> list[int]:
    """Rows of names in the store's list of what it has of a kind.

    Raises
    ------
    UserError
        If it lacks one, or they are subjects, and another one's runs alone are in use.
    """
    if unknown := sorted(set(wanted) - set(known)):
        raise UserError(f"{dataset.path} has no {kind} {', '.join(unknown)}: see `simdata info`")
    if kind == "subject" and dataset.only is not None and (others := sorted(set(wanted) - {dataset.only})):
        raise UserError(
            f"{', '.join(others)}: the run is adapted to {dataset.only}, and to nobody else: take the run "
            "that it was made of, or adapt that one to them"
        )
    return [known.index(name) for name in wanted]
