"""Weights of the modalities of the stimulus in one query of all, chosen by validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from simdata.common.errors import UserError
from simtrain.data.windows import Windows
from simtrain.retrieval import joint
from simtrain.retrieval.examination import Examination, Examinee
from simtrain.retrieval.joint import JointWeights
from simtrain.retrieval.protocol import Protocol

# Which experiments count together: as in training's validation, those in new scenes.
GROUPS = (("new-subjects",), ("new-scenes", "both"))
SUBJECTS = 8  # of each experiment, at most

ExamineeOf = Callable[[np.ndarray], Examinee]  # from the windows of an experiment
MustBeNew = Callable[[np.ndarray, str, str], None]  # windows, experiment, set


def joint_weights(
    modalities: tuple[str, ...],
    examinee_of: ExamineeOf,
    used: Windows,
    protocol: Protocol,
    must_be_new: MustBeNew,
) -> JointWeights | None:
    """The weights that a protocol gives the modalities in one query; None if it has no such query.

    Parameters
    ----------
    examinee_of, must_be_new : as for `simtrain.retrieval.evaluation.put_to_test`

    Raises
    ------
    UserError
        If weights are asked for of modalities whose pools or gaps differ, or are none.
    """
    setting = protocol.joint
    if setting == joint.NONE or len(modalities) < 2:
        return None
    if len({protocol.of(modality) for modality in modalities}) > 1:
        if setting == joint.VALIDATION:
            return None
        raise UserError(f"`joint` {setting}: modalities have other pools or gaps: give all the same")
    if not isinstance(setting, str):
        return joint.given(setting, modalities)
    if setting == joint.EQUAL:
        return joint.equal(modalities)
    points = joint.grid(len(modalities))
    scores = list(_by_validation(points, examinee_of, used, protocol.in_validation, must_be_new))
    if not scores:
        return joint.equal(modalities, "all alike, since validation has no such test")
    return joint.chosen_of(modalities, points, np.stack(scores, axis=1))


def _by_validation(
    points: np.ndarray, examinee_of: ExamineeOf, used: Windows, protocol: Protocol, must_be_new: MustBeNew
) -> Iterator[np.ndarray]:
    """(n,) top-1 by weights (n, modalities), expected over all pools, in each of ``GROUPS`` that can be."""
    for group in GROUPS:
        total, count = np.zeros(len(points)), 0
        for name in group:
            windows = used.experiment(name, protocol.lag, **protocol.which)
            windows = windows[np.isin(windows["subject"], np.unique(windows["subject"])[:SUBJECTS])]
            if not len(windows):
                continue
            tested = examinee_of(windows)
            plain = protocol.of(tested.modalities[0])
            try:
                must_be_new(windows, name, protocol.split)
                test = Examination(tested, windows, name, plain, tested.modalities)
            except UserError:  # not new to the run, or too short for these pools: it says nothing of weights
                continue
            total += test.top1_by_weights(points) * len(windows)
            count += len(windows)
        if count:
            yield total / count
