"""What a trained model is tested with, and what it makes of a store: retrieval and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

import pandas as pd
import xarray as xr

from simdata.common.local_path import local
from simtrain import prediction
from simtrain.common.choices import must_be_one_of
from simtrain.common.device import torch_device
from simtrain.data.dataset import Dataset, open_dataset
from simtrain.data.windows import ALL, EXPERIMENTS
from simtrain.retrieval import evaluation, report, tables
from simtrain.retrieval import figures as pictures
from simtrain.retrieval.protocol import Protocol
from simtrain.training.run_folder import Run


class HasPath(Interface):
    """Anything that a run folder is known by, such as what `simtrain.load_run` returns."""

    path: Path


RunLike = str | PathLike | HasPath
Store = str | PathLike


class Retrieval:
    """Experiments of one model in one retrieval test.

    Attributes
    ----------
    folder : where `save` writes
    protocol : of the test
    results : name of the experiment -> its scores, measures and tested windows
    """

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        results: dict[str, evaluation.RetrievalResult],
        dataset: Dataset,
    ) -> None:
        self.folder, self.protocol, self.results, self._dataset = folder, protocol, results, dataset

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each experiment, direction and figure.

        ``mean`` and ``sd`` are over draws: shares from 0 to 1 for ``top-1``, ``top-5`` and ``top-10``, a rank
        from 1 for ``median_rank``, percent for ``percentile``. ``low`` and ``high`` bound the 95 % interval
        over subjects. What is not computed is NaN.
        """
        rows = [
            {
                "experiment": name,
                "direction": direction,
                "figure": figure,
                "mean": one.mean,
                "sd": one.sd,
                "low": None if one.interval is None else one.interval.low,
                "high": None if one.interval is None else one.interval.high,
                "chance": one.chance,
                "p": one.p,
            }
            for name, result in self.results.items()
            for direction, measures in result.measures.items()
            for figure, one in measures.items()
        ]
        return pd.DataFrame(rows).astype({"low": float, "high": float, "p": float})

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """``subjects``, ``clips``, ``lags`` (empty unless asked for) and ``windows``, as in the CSV files."""
        rows = tables.build(self.results, self._dataset)
        return {name: pd.DataFrame(of_table) for name, of_table in rows.items()}

    def save(self, figures: bool = False) -> None:
        """Write retrieval.json and the folder retrieval, with pictures if asked for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        report.save(self.folder, self.results, self.protocol, self._dataset, figures)

    def __repr__(self) -> str:
        return f"<Retrieval of {', '.join(self.results)}: {self.protocol}>"


def retrieve(
    run: RunLike,
    store: Store,
    *,
    experiment: str = ALL,
    pool: int | Literal["movie"] = Protocol.pool,
    clips: int = Protocol.clips,
    draws: int = Protocol.draws,
    lag: int | None = None,
    negatives: str = Protocol.negatives,
    hard: bool = Protocol.hard,
    average_subjects: bool = Protocol.average_subjects,
    average_windows: int = Protocol.average_windows,
    lags: Iterable[int] | None = None,
    shuffle: bool = Protocol.shuffle,
    figures: bool = False,
    seed: int = Protocol.seed,
    device: str = "auto",
    save: bool = True,
    out: str | PathLike | None = None,
) -> Retrieval:
    """Test a trained model: which clip was seen, and which BOLD it gave rise to.

    Parameters
    ----------
    run : folder of a run of `simtrain fit`, or an object whose ``path`` is one
    store : path or URL of a store that simdata built
    experiment : what was held out of training: ``new-subjects``, ``new-scenes``,
        ``new-subjects-and-scenes``, or ``all`` that the store has windows for
    pool : candidates of each test, the true one included; ``movie``: all of the tested window's movie
    clips : tested windows of a draw
    draws : draws of windows and pools, 2 or more
    lag : s from stimulus to BOLD; None: as trained
    negatives : ``same-movie`` or ``cross-movie``
    hard : the negatives nearest in time, not any
    average_subjects : test the mean of the subjects' embeddings
    average_windows : test means over so many consecutive s of one film clip
    lags : s, at which to repeat the test; may be negative
    shuffle : control: every clip gets another's stimulus
    figures : write pictures too; needs matplotlib
    seed : of draws, pools and intervals
    device : ``auto``, ``cpu`` or ``cuda``
    save : write retrieval.json and the folder retrieval, as `simtrain retrieve` does
    out : folder to write them to; None: the run's

    Returns
    -------
    Retrieval
        Its ``metrics`` are a table, its ``tables`` those by subject, film clip, lag and window.

    Raises
    ------
    UserError
        If the run has no model yet or does not fit the store, subjects or scenes that should be new are not,
        there are too few windows, or parameters contradict each other.

    Examples
    --------
    >>> found = simtrain.retrieve(run, store, experiment="new-subjects", clips=40, draws=2, device="cpu")
    >>> found
    <Retrieval of new-subjects: pool of 32, same-movie negatives, lag 6 s>
    >>> found.metrics.columns.tolist()
    ['experiment', 'direction', 'figure', 'mean', 'sd', 'low', 'high', 'chance', 'p']
    """
    trained = open_run(run)
    protocol = Protocol(
        pool=pool,
        clips=clips,
        draws=draws,
        lag=trained.config.data.lag if lag is None else lag,
        negatives=negatives,
        shuffle=shuffle,
        seed=seed,
        hard=hard,
        average_subjects=average_subjects,
        average_windows=average_windows,
    )
    if figures:
        pictures.require()
    folder = trained.path if out is None else local(out, "out")
    chosen, dataset = one_or_all(experiment), open_dataset(store)
    curve = [] if lags is None else list(lags)
    results = evaluation.retrieve(trained, dataset, chosen, protocol, torch_device(device), curve)
    found = Retrieval(folder, protocol, results, dataset)
    if save:
        found.save(figures)
    return found


def predict(
    run: RunLike,
    store: Store,
    out: str | PathLike,
    *,
    subjects: Sequence[str] | None = None,
    hemispheres: bool = False,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> xr.Dataset:
    """Write a model's embeddings of every usable window of a store, and open them.

    Parameters
    ----------
    run : folder of a run of `simtrain fit`, or an object whose ``path`` is one
    store : path or URL of a store that simdata built
    out : Zarr store to write; it appears whole or not at all
    subjects : their ids; None: all of the store
    hemispheres : also the embedding of each hemisphere, ``fmri_by_hemisphere``
    device : ``auto``, ``cpu`` or ``cuda``
    progress : called with a subject, its number and the number of subjects

    Returns
    -------
    xarray.Dataset
        Read as it is used. ``fmri`` (subject, movie, second, embedding) float32 of unit length belongs to
        the clip that begins at that second, ``video`` and ``audio`` (movie, second, embedding) too; NaN where
        no window is usable.

    Raises
    ------
    UserError
        If ``out`` exists, a subject is unknown, the run does not fit the store, or embeddings are not finite
        or all the same.

    Examples
    --------
    >>> embedded = simtrain.predict(run, store, out, subjects=["s5", "s6"], device="cpu")
    >>> embedded.fmri.dims
    ('subject', 'movie', 'second', 'embedding')
    >>> embedded.subject.values.tolist()
    ['s5', 's6']
    """
    place = local(out, "out")
    prediction.predict(
        open_run(run),
        open_dataset(store),
        place,
        torch_device(device),
        subjects=tuple(subjects or ()),
        by_hemisphere=hemispheres,
        **({} if progress is None else {"progress": progress}),
    )
    return xr.open_zarr(place)


def open_run(run: RunLike, **kind: Any) -> Run:
    """The run in a folder, or of an object that has a ``path``."""
    return Run.open(run if isinstance(run, str | PathLike) else run.path, **kind)


def one_or_all(experiment: str) -> str | None:
    """The experiment, None for all; a UserError if there is none of this name."""
    must_be_one_of("experiment", experiment, (*EXPERIMENTS, ALL))
    return None if experiment == ALL else experiment
