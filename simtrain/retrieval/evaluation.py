"""A run's model put to the retrieval test on a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol as Interface

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.common.finite import must_tell_apart
from simtrain.data.dataset import Dataset
from simtrain.data.windows import EXPERIMENTS, Windows, select
from simtrain.models.embeddings import embed_units, units_of
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.metrics import chosen
from simtrain.retrieval.pools import draw_pools, gap
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.scores import SHIFTS, Score, draw_shifts, score_draws
from simtrain.retrieval.summary import Measure, summarise
from simtrain.retrieval.units import average_clips, average_fmri, find_units, members
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner


class TestedModel(Interface):
    """What is tested: a `Learner`, or a baseline.

    ``window`` is how many s its windows cover, the longer of BOLD and clip.
    """

    @property
    def window(self) -> int: ...

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, torch.Tensor]:
        """(n, dim) of every stimulus modality for clips that begin at second ``clip`` of ``movie``."""


@dataclass(frozen=True)
class RetrievalResult:
    """An experiment: figures for each direction, such as ``fmri->video``, and what was tested.

    Attributes
    ----------
    tested : (draws, tested) WINDOW, those that the scores are of, once for each of ``units`` in turn
    units : what of a window was tested: ``mean`` of its hemispheres, or hemispheres by themselves
    subjects, windows : how many the experiment has
    lags : direction -> lag in s -> figures, all of the same clips of the same subjects
    """

    scores: dict[str, Score]
    measures: dict[str, dict[str, Measure]]
    tested: np.ndarray
    subjects: int
    windows: int
    lags: dict[str, dict[int, dict[str, Measure]]]
    units: tuple[str, ...] = ("mean",)


def retrieve(
    run: FitRun,
    dataset: Dataset,
    experiment: str | None,
    protocol: Protocol,
    device: torch.device,
    lags: Sequence[int] = (),
) -> dict[str, RetrievalResult]:
    """Test a run's model on a store in one experiment, or in all that the store has windows for.

    Parameters
    ----------
    lags : s, in which to repeat the test on the same pools, beside the protocol's own; may be negative

    Raises
    ------
    UserError
        If the run has no model yet, does not fit the store, or there are too few windows for the protocol.
    """
    learner = load_learner(run, dataset, device)
    used = Windows.of(dataset, run.config)
    frames, reader = run.config.data.frames, BoldReader(dataset.path)
    units = units_of(protocol.hemispheres, learner.sides)
    results = {}
    for name, windows in used.experiments(experiment, protocol.lag).items():
        must_be_new(run, dataset, windows, name)
        bank = Bank(partial(embed_units, learner, reader, units, frames=frames), dataset, units)
        result = put_to_test(learner, bank, dataset, windows, name, protocol)
        if lags:
            common = _at_all(used.find(max(lags)), lags)
            common = select(common, *EXPERIMENTS[name])
            if not len(common):
                raise UserError(f"{name}: no clip has BOLD at all of these lags: use shorter `lags`")
            curve = _curve(_Test(learner, bank, dataset, common, name, protocol), lags)
            result = replace(result, lags=curve)
        results[name] = result
    return results


def put_to_test(
    model: TestedModel, bank: Bank, dataset: Dataset, windows: np.ndarray, name: str, protocol: Protocol
) -> RetrievalResult:
    """One experiment with anything that embeds clips, and a bank of what it makes of BOLD."""
    test = _Test(model, bank, dataset, windows, name, protocol)
    scores = test.score([protocol.lag])[protocol.lag]
    measures = {direction: test.summary(score) for direction, score in scores.items()}
    return RetrievalResult(
        scores, measures, test.tested, len(np.unique(windows["subject"])), len(windows), {}, bank.units
    )


def must_be_new(run: FitRun, dataset: Dataset, windows: np.ndarray, name: str) -> None:
    """Refuse an experiment on subjects or scenes that a run may have seen.

    Raises
    ------
    UserError
        If one of the subjects was in its training or validation, unless only the scenes are to be new; if
        the scenes are to be new, but a movie was divided otherwise in its training.
    """
    if name != "new-subjects":
        seen, scenes = run.seen_scenes, list(dataset.identity["scenes"].items())
        for movie in np.unique(windows["movie"]):
            title, now = scenes[movie]
            if seen.get(title, {now}) != {now}:
                raise UserError(
                    f"{name}: {run.path} was trained with other clips or sets of scenes in {title} than "
                    f"{dataset.path} has, so that its test scenes may not be new"
                )
    subjects = {dataset.subjects[position] for position in np.unique(windows["subject"])}
    if name != "new-scenes" and (known := subjects & run.seen_subjects):
        raise UserError(f"{name}: {run.path} was trained or validated on {', '.join(sorted(known))}")


def _at_all(windows: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """The windows, given at the longest of ``lags``, whose clip has BOLD at all of them."""
    return windows[windows["clip"] + min(lags) >= 0]


def _curve(test: _Test, lags: Sequence[int]) -> dict[str, dict[int, dict[str, Measure]]]:
    curve: dict[str, dict[int, dict[str, Measure]]] = {}
    for lag, scores in test.score(lags).items():
        for direction, score in scores.items():
            curve.setdefault(direction, {})[lag] = test.summary(score)
    return curve


class _Test:
    """Windows to test, pools and shifts, drawn once; they can be scored at any lag.

    Parameters
    ----------
    windows : (n,) WINDOW of one experiment
    """

    def __init__(
        self,
        model: TestedModel,
        bank: Bank,
        dataset: Dataset,
        windows: np.ndarray,
        name: str,
        protocol: Protocol,
    ) -> None:
        self._model, self._bank, self._protocol = model, bank, protocol
        seconds = protocol.average_windows
        units = find_units(windows, dataset.segment, seconds, protocol.average_subjects)
        if not len(units):
            raise UserError(
                f"{name}: no film clip has {seconds} windows in a row: use smaller `average_windows`"
            )
        self._name = name
        rng = np.random.default_rng(protocol.seed)
        # Stimulus rows: every clip of the experiment once, by movie and time.
        self._clips, row = np.unique(units[["movie", "clip"]], return_inverse=True)
        apart = gap(protocol, model.window)
        film_clip = dataset.segment[units["movie"], units["clip"]]
        pools = [draw_pools(rng, units, film_clip, protocol, apart, name) for _ in range(protocol.draws)]
        shifts = draw_shifts(rng, self._clips["movie"], SHIFTS)
        self._shifts = np.concatenate([np.arange(len(self._clips))[None], shifts])
        self._order = np.arange(len(self._clips))
        if protocol.shuffle:
            self._order = rng.permutation(len(self._clips))
        tested = np.stack([units[[pool[0] for pool in draw]] for draw in pools])
        self.tested = np.tile(tested, len(bank.units))
        # From here on, only what is in a pool.
        used = np.unique(np.concatenate([pool for draw in pools for pool in draw]))
        self._units, self._row = units[used], row[used]
        self._pools = [[np.searchsorted(used, pool) for pool in draw] for draw in pools]
        self._metrics = chosen(protocol.metrics)
        self._windows = windows[members(self._units, windows, seconds)]

    def score(self, lags: Sequence[int]) -> dict[int, dict[str, Score]]:
        """For each lag in s and each direction.

        Raises
        ------
        UserError
            If embeddings are not finite, or those of a modality all the same.
        """
        self._bank.add(np.concatenate([_moved(self._windows, lag) for lag in lags]))
        stimuli = average_clips(
            self._embed_clips, self._clips["movie"], self._clips["clip"], self._protocol.average_windows
        )
        for modality, vectors in stimuli.items():
            must_tell_apart(vectors, modality, "clips", self._name)
        return {lag: self._directions(self._fmri(lag), stimuli) for lag in lags}

    def summary(self, score: Score) -> dict[str, Measure]:
        return summarise(score, self.tested["subject"], self._protocol.seed)

    def _fmri(self, lag: int) -> np.ndarray:
        windows = _moved(self._windows, lag)
        units, embedded = _moved(self._units, lag), self._bank[windows]
        averaged = [
            average_fmri(units, windows, of_unit, self._protocol.average_windows)
            for of_unit in embedded.transpose(1, 0, 2)
        ]
        for vectors in averaged:
            must_tell_apart(vectors, "fmri", "windows", f"{self._name}, lag {lag} s")
        return np.stack(averaged)

    def _directions(self, fmri: np.ndarray, stimuli: dict[str, np.ndarray]) -> dict[str, Score]:
        scores: dict[str, Score] = {}
        for modality, embedded in stimuli.items():
            stimulus = embedded[self._order]
            there, back = score_draws(fmri, stimulus, self._pools, self._row, self._shifts, self._metrics)
            scores |= {f"fmri->{modality}": there, f"{modality}->fmri": back}
        return scores

    @torch.no_grad()
    def _embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, np.ndarray]:
        embedded = self._model.embed_clips(movie, clip)
        return {modality: values.float().cpu().numpy() for modality, values in embedded.items()}


def _moved(windows: np.ndarray, lag: int) -> np.ndarray:
    """The same clips with the BOLD of another lag."""
    moved = windows.copy()
    moved["second"] = moved["clip"] + lag
    return moved
