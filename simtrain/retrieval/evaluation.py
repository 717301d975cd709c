"""A run's model put to the retrieval test on a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.data.dataset import Dataset
from simtrain.data.experiments import ADAPTED, SEEN
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_units, units_of
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.examination import DirectionOutcome, Examination, Examinee
from simtrain.retrieval.joint import JointWeights
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.scores import Score
from simtrain.retrieval.summary import Measure
from simtrain.retrieval.units import film_clips
from simtrain.retrieval.weighting import ExamineeOf, MustBeNew, joint_weights
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner


@dataclass(frozen=True)
class RetrievalResult:
    """An experiment: figures for each direction, such as ``fmri->video``, and what was tested.

    Attributes
    ----------
    tested : direction -> (draws, tested) WINDOW, those that its scores are of, once for each of ``units`` in
        turn
    units : what of a window was tested: ``mean`` of its hemispheres, or hemispheres by themselves
    subjects, clips, windows : how many subjects, film clips and windows the experiment has to test
    lags : direction -> lag in s -> figures, all of the same clips of the same subjects
    joint : the weights of all modalities in one query, if there is one
    """

    scores: dict[str, Score]
    measures: dict[str, dict[str, Measure]]
    tested: dict[str, np.ndarray]
    subjects: int
    clips: int
    windows: int
    lags: dict[str, dict[int, dict[str, Measure]]]
    units: tuple[str, ...] = ("mean",)
    joint: JointWeights | None = None


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
    reader, units = BoldReader(dataset.path), units_of(protocol.hemispheres, learner.side_names)
    embed = partial(embed_units, learner, reader, units, frames=run.config.data.frames)

    def examinee_of(windows: np.ndarray) -> Examinee:
        """With one bank for all modalities, which have one space."""
        return Examinee(learner, dict.fromkeys(learner.modalities, Bank(embed, dataset, units)), dataset)

    used, new = Windows.of(dataset, run.config), partial(must_be_new, run, dataset)
    return put_to_test(examinee_of, used, experiment, protocol, lags, new)


def put_to_test(
    examinee_of: ExamineeOf,
    used: Windows,
    experiment: str | None,
    protocol: Protocol,
    lags: Sequence[int] = (),
    must_be_new: MustBeNew = lambda windows, name, split: None,
) -> dict[str, RetrievalResult]:
    """Test a model or a baseline in one experiment, or in all that the store has windows for.

    Parameters
    ----------
    examinee_of : what is tested, from the windows of an experiment
    lags : as for `retrieve`
    must_be_new : raises a UserError if it may have seen the windows of an experiment in a set
    """
    chosen = used.experiments(experiment, protocol.lag, **protocol.which)
    for name, windows in chosen.items():
        must_be_new(windows, name, protocol.split)
    joint: JointWeights | None = None
    results: dict[str, RetrievalResult] = {}
    for name, windows in chosen.items():
        tested = examinee_of(windows)
        if not results:
            joint = joint_weights(tested.modalities, examinee_of, used, protocol, must_be_new)
        result = _result(
            _outcomes(tested, windows, name, protocol, joint, [protocol.lag]), windows, used.dataset
        )
        if lags:
            common = _at_all(used.experiment(name, max(lags), **protocol.which), lags)
            if not len(common):
                raise UserError(f"{name}: no clip has BOLD at all of these lags: use shorter `lags`")
            result = replace(result, lags=_curve(_outcomes(tested, common, name, protocol, joint, lags)))
        results[name] = replace(result, units=tested.units, joint=joint)
    return results


def _result(outcomes: _Outcomes, windows: np.ndarray, dataset: Dataset) -> RetrievalResult:
    """Of one experiment at its lag."""
    (of_lag,) = outcomes.values()
    in_set = windows[windows["scene_split"] != 0]
    return RetrievalResult(
        {direction: outcome.score for direction, outcome in of_lag.items()},
        {direction: outcome.measures for direction, outcome in of_lag.items()},
        {direction: outcome.tested for direction, outcome in of_lag.items()},
        len(np.unique(windows["subject"])),
        len(np.unique(film_clips(in_set, dataset.segment))),
        len(in_set),
        {},
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
    seen = run.seen(dataset)
    if name == SEEN:
        if unseen := subjects - seen.seen:
            raise UserError(f"{name}: {run.path} was not trained on {', '.join(sorted(unseen))}")
        return
    if name != "new-subjects":
        scenes = list(dataset.identity["scenes"].items())
        for movie in np.unique(windows["movie"]):
            title, now = scenes[movie]
            if seen.scenes.get(title, {now}) != {now}:
                raise UserError(
                    f"{name}: {run.path} was trained with other clips or sets of scenes in {title} than "
                    f"{dataset.path} is divided into here, so that its {split} scenes may not be new"
                )
    if name == "new-scenes":
        return
    if split == "val" and (known := subjects & seen.trained):
        raise UserError(f"{name}: {run.path} may have been trained on {', '.join(sorted(known))}")
    if split == "test" and (known := subjects & seen.seen):
        raise UserError(f"{name}: {run.path} was trained or validated on {', '.join(sorted(known))}")


def _at_all(windows: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """The windows, given at the longest of ``lags``, whose clip has BOLD at all of them."""
    return windows[windows["clip"] + min(lags) >= 0]


_Outcomes = dict[int, dict[str, DirectionOutcome]]  # by lag in s and direction


def _curve(outcomes: _Outcomes) -> dict[str, dict[int, dict[str, Measure]]]:
    curve: dict[str, dict[int, dict[str, Measure]]] = {}
    for lag, of_lag in outcomes.items():
        for direction, outcome in of_lag.items():
            curve.setdefault(direction, {})[lag] = outcome.measures
    return curve


def _outcomes(
    tested: Examinee,
    windows: np.ndarray,
    name: str,
    protocol: Protocol,
    joint: JointWeights | None,
    lags: Sequence[int],
) -> _Outcomes:
    """Modalities that have the same pool and gap are tested together."""
    alike: dict[Protocol, list[str]] = {}
    for modality in tested.modalities:
        alike.setdefault(protocol.of(modality), []).append(modality)
    found: _Outcomes = {lag: {} for lag in lags}
    for own, modalities in alike.items():
        told = name if len(alike) == 1 else f"{name}, {' and '.join(modalities)}"
        test = Examination(tested, windows, told, own, modalities)
        for lag, of_lag in test.outcomes(lags, joint).items():
            found[lag] |= of_lag
    return found
