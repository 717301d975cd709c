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
from simtrain.data.experiments import ADAPTED, SEEN
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_units, units_of
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.metrics import chosen
from simtrain.retrieval.pools import gap
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.scores import SHIFTS, Score, draw_shifts
from simtrain.retrieval.summary import Measure, rows_of, summarise
from simtrain.retrieval.trials import EmbeddedWindows, trials_of
from simtrain.retrieval.units import average_clips, average_fmri, find_units, members
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner


class TestedModel(Interface):
    """What is tested: a `Learner`, or a baseline.

    ``window`` is how many s its windows cover, the longer of BOLD and clip; ``modalities`` are those of the
    stimulus.
    """

    @property
    def window(self) -> int: ...

    @property
    def modalities(self) -> tuple[str, ...]: ...

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, torch.Tensor]:
        """(n, dim) of every stimulus modality for clips that begin at second ``clip`` of ``movie``."""


@dataclass(frozen=True)
class RetrievalResult:
    """An experiment: figures for each direction, such as ``fmri->video``, and what was tested.

    Attributes
    ----------
    tested : direction -> (draws, tested) WINDOW, those that its scores are of, once for each of ``units`` in
        turn
    units : what of a window was tested: ``mean`` of its hemispheres, or hemispheres by themselves
    subjects, windows : how many the experiment has to test
    lags : direction -> lag in s -> figures, all of the same clips of the same subjects
    """

    scores: dict[str, Score]
    measures: dict[str, dict[str, Measure]]
    tested: dict[str, np.ndarray]
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
    for name, windows in used.experiments(experiment, protocol.lag, **protocol.which).items():
        must_be_new(run, dataset, windows, name, protocol.split)
        bank = Bank(partial(embed_units, learner, reader, units, frames=frames), dataset, units)
        result = put_to_test(learner, bank, dataset, windows, name, protocol)
        if lags:
            common = _at_all(used.experiment(name, max(lags), **protocol.which), lags)
            if not len(common):
                raise UserError(f"{name}: no clip has BOLD at all of these lags: use shorter `lags`")
            outcomes = _outcomes(learner, bank, dataset, common, name, protocol, lags)
            result = replace(result, lags=_curve(outcomes))
        results[name] = result
    return results


def put_to_test(
    model: TestedModel, bank: Bank, dataset: Dataset, windows: np.ndarray, name: str, protocol: Protocol
) -> RetrievalResult:
    """One experiment with anything that embeds clips, and a bank of what it makes of BOLD."""
    outcomes = _outcomes(model, bank, dataset, windows, name, protocol, [protocol.lag])[protocol.lag]
    return RetrievalResult(
        {direction: outcome.score for direction, outcome in outcomes.items()},
        {direction: outcome.measures for direction, outcome in outcomes.items()},
        {direction: outcome.tested for direction, outcome in outcomes.items()},
        len(np.unique(windows["subject"])),
        int((windows["scene_split"] != 0).sum()),
        {},
        bank.units,
    )


def must_be_new(run: FitRun, dataset: Dataset, windows: np.ndarray, name: str, split: str = "test") -> None:
    """Refuse an experiment on subjects or scenes that a run may have seen, unless that is what it is called.

    Parameters
    ----------
    split : the set in which it is tested: in that of validation, subjects must be new to training alone

    Raises
    ------
    UserError
        If one of the subjects was in its training or validation, unless only the scenes are to be new; if
        the scenes are to be new, but a movie was divided otherwise in its training; if one is to be ``SEEN``
        and was not.
    """
    if run.adaptation is not None and name != ADAPTED:
        raise UserError(
            f"{name}: {run.path} is {run.adaptation} of scenes of training: test it in new ones, "
            f"`experiment` {ADAPTED}"
        )
    subjects = {dataset.subjects[position] for position in np.unique(windows["subject"])}
    if name == SEEN:
        if unseen := subjects - run.seen_subjects:
            raise UserError(f"{name}: {run.path} was not trained on {', '.join(sorted(unseen))}")
        return
    if name != "new-subjects":
        seen, scenes = run.seen_scenes, list(dataset.identity["scenes"].items())
        for movie in np.unique(windows["movie"]):
            title, now = scenes[movie]
            if seen.get(title, {now}) != {now}:
                raise UserError(
                    f"{name}: {run.path} was trained with other clips or sets of scenes in {title} than "
                    f"{dataset.path} is divided into here, so that its {split} scenes may not be new"
                )
    if name == "new-scenes":
        return
    if split == "val" and (known := subjects & run.trained_subjects):
        raise UserError(f"{name}: {run.path} may have been trained on {', '.join(sorted(known))}")
    if split == "test" and (known := subjects & run.seen_subjects):
        raise UserError(f"{name}: {run.path} was trained or validated on {', '.join(sorted(known))}")


def _at_all(windows: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """The windows, given at the longest of ``lags``, whose clip has BOLD at all of them."""
    return windows[windows["clip"] + min(lags) >= 0]


@dataclass(frozen=True)
class _Outcome:
    """One direction of one experiment; ``tested`` is as in `RetrievalResult`."""

    score: Score
    measures: dict[str, Measure]
    tested: np.ndarray


_Outcomes = dict[int, dict[str, _Outcome]]  # by lag in s and direction


def _curve(outcomes: _Outcomes) -> dict[str, dict[int, dict[str, Measure]]]:
    curve: dict[str, dict[int, dict[str, Measure]]] = {}
    for lag, of_lag in outcomes.items():
        for direction, outcome in of_lag.items():
            curve.setdefault(direction, {})[lag] = outcome.measures
    return curve


def _outcomes(
    model: TestedModel,
    bank: Bank,
    dataset: Dataset,
    windows: np.ndarray,
    name: str,
    protocol: Protocol,
    lags: Sequence[int],
) -> _Outcomes:
    """Modalities that have the same pool and gap are tested together."""
    alike: dict[Protocol, list[str]] = {}
    for modality in model.modalities:
        alike.setdefault(protocol.of(modality), []).append(modality)
    found: _Outcomes = {lag: {} for lag in lags}
    for own, modalities in alike.items():
        told = name if len(alike) == 1 else f"{name}, {' and '.join(modalities)}"
        test = _Test(model, bank, dataset, windows, told, own, modalities)
        for lag, of_lag in test.outcomes(lags).items():
            found[lag] |= of_lag
    return found


class _Test:
    """Windows to test, pools and shifts, drawn once; they can be scored at any lag.

    Parameters
    ----------
    windows : (n,) WINDOW of one experiment
    name : of the experiment, for messages
    protocol : of the ``modalities``
    """

    def __init__(
        self,
        model: TestedModel,
        bank: Bank,
        dataset: Dataset,
        windows: np.ndarray,
        name: str,
        protocol: Protocol,
        modalities: Sequence[str],
    ) -> None:
        self._model, self._bank, self._protocol, self._modalities = model, bank, protocol, modalities
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
        film_clip = dataset.segment[units["movie"], units["clip"]]
        trials = trials_of(rng, units, film_clip, protocol, gap(protocol, model.window), name)
        shifts = draw_shifts(rng, self._clips["movie"], SHIFTS)
        self._shifts = np.concatenate([np.arange(len(self._clips))[None], shifts])
        self._order = np.arange(len(self._clips))
        if protocol.shuffle:
            self._order = rng.permutation(len(self._clips))
        self._tested = np.tile(units[trials.tested], len(bank.units))
        self._table_row = rows_of(self._tested, len(bank.units))
        # From here on, only what is in a pool.
        used = trials.used
        self._units, self._row, self._trials = units[used], row[used], trials.among(used)
        self._metrics = chosen(protocol.metrics)
        self._windows = windows[members(self._units, windows, seconds)]

    def outcomes(self, lags: Sequence[int]) -> _Outcomes:
        """At each of ``lags``, in s.

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
        return {
            lag: {
                direction: self._outcome(score)
                for direction, score in self._directions(self._fmri(lag), stimuli).items()
            }
            for lag in lags
        }

    def _outcome(self, score: Score) -> _Outcome:
        measures = summarise(score, self._tested["subject"], self._table_row, self._protocol.seed)
        return _Outcome(score, measures, self._tested)

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
            both = EmbeddedWindows(fmri, embedded[self._order], self._row)
            there, back = self._trials.scores(both, self._shifts, self._metrics)
            scores |= {f"fmri->{modality}": there, f"{modality}->fmri": back}
        return scores

    @torch.no_grad()
    def _embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, np.ndarray]:
        embedded = self._model.embed_clips(movie, clip)
        return {modality: embedded[modality].float().cpu().numpy() for modality in self._modalities}


def _moved(windows: np.ndarray, lag: int) -> np.ndarray:
    """The same clips with the BOLD of another lag."""
    moved = windows.copy()
    moved["second"] = moved["clip"] + lag
    return moved
