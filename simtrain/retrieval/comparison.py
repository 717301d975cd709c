"""Two models, or a model and a baseline, in the same retrieval test: what is between them, and is it chance?

Both were tested on the same windows against the same pools, so that hits are compared window by window. A
difference is to hold for other subjects and other film clips, and so does its interval
(`retrieval.intervals`). Its p-value, two-sided, flips the sign of each subject's differences in all figures,
all ways for up to 12 subjects and 10,000 ways beyond (Nichols & Holmes 2002, Human Brain Mapping 15, on
flipping signs), and is corrected for all figures that are compared (`retrieval.family`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from simdata.common.errors import UserError
from simtrain.common.choices import must_be_one_of
from simtrain.data.experiments import file_of
from simtrain.retrieval.by_modality import of_modality
from simtrain.retrieval.family import family_p
from simtrain.retrieval.intervals import Crossed
from simtrain.retrieval.joint import NONE
from simtrain.retrieval.metrics import RetrievalMetric, chosen
from simtrain.retrieval.named_protocols import NAMED, OURS, name_of
from simtrain.retrieval.protocol import EXACT, SETTINGS, Protocol
from simtrain.retrieval.ranks import Ranks, expected

ALL_WAYS = 12  # subjects: 4,096 ways of signs
SOME_WAYS = 10_000
# What both tests must have alike.
WINDOW = ["draw", "subject", "hemisphere", "movie", "second", "clip_second", "candidates", "pool"]
TEXTS = dict.fromkeys(("experiment", "direction", "subject", "hemisphere", "movie", "clip"), str)
# What tests did before there was a choice.
SINCE = {"split": "test", "joint": NONE, "clips_of": "experiment", "subjects": [], "movies": []}
AGAIN = "test it again with `simtrain retrieve` or `simtrain baseline`"


class Difference(NamedTuple):
    """One figure of one direction: means over tested windows, ``difference`` is ``one`` less ``other``.

    ``low`` and ``high`` bound the 95 % interval for other subjects and clips, None with fewer than 5 of one.
    ``p`` is of this figure alone, ``family_p`` corrected for all that are compared. Shares are from 0 to 1,
    ``percentile`` is percent.
    """

    experiment: str
    direction: str
    figure: str
    one: float
    other: float
    difference: float
    low: float | None
    high: float | None
    p: float
    family_p: float
    subjects: int
    clips: int


class SubjectDifference(NamedTuple):
    """The same for the ``n`` tested windows of one subject."""

    experiment: str
    direction: str
    figure: str
    subject: str
    one: float
    other: float
    difference: float
    n: int


@dataclass(frozen=True)
class RankTable:
    """A retrieval test that was done.

    Attributes
    ----------
    name : of the run or baseline, for messages and tables
    protocol : name of a parameter -> its value
    protocol_name : as `simtrain.retrieval.named_protocols.name_of` has it
    windows : a row for each tested window and direction, as in windows.csv
    """

    name: str
    protocol: Mapping[str, Any]
    protocol_name: str
    windows: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, split: str = "test") -> RankTable:
        """What `simtrain retrieve` or `simtrain baseline` wrote to a folder, of a set.

        Raises
        ------
        UserError
            If there is nothing, or it is damaged.
        """
        stem = file_of("retrieval", split)
        summary, table = folder / f"{stem}.json", folder / stem / "windows.csv"
        for path in (summary, table):
            if not path.is_file():
                others = ", ".join(sorted(other.name for other in folder.glob("retrieval*.json")))
                there = f" (but {others})" if others else ""
                raise UserError(f"{folder}: has no {path.relative_to(folder)}{there}: {AGAIN}")
        try:
            content = json.loads(summary.read_text())
            windows = pd.read_csv(table, dtype=TEXTS, keep_default_na=False)
            protocol = {name: (SINCE | content["protocol"])[name] for name in SETTINGS}
            # Named anew, since what a name stands for may have changed since.
            based_on = content["protocol"].get("name", OURS).partition(",")[0]
            tested_by = Protocol(**protocol, based_on=based_on)
            if "candidates" not in windows:  # pools were drawn, and film clips not written
                windows = windows.assign(candidates=windows["pool"], clip="")
            draws = 1 if tested_by.draws == EXACT else tested_by.draws
            expected = {
                (experiment, direction): draws * of_experiment["tested_clips"]
                for experiment, of_experiment in content["experiments"].items()
                for direction in of_experiment["directions"]
            }
            found = windows.groupby(["experiment", "direction"])[WINDOW].size().to_dict()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder}: its retrieval test is damaged ({error}): {AGAIN}") from None
        if expected != found:
            raise UserError(f"{table}: is not of the same test as {summary}: {AGAIN}")
        return cls(folder.name, protocol, name_of(tested_by), windows)

    @classmethod
    def of(cls, name: str, protocol: Protocol, windows: pd.DataFrame) -> RankTable:
        """A test that is in memory."""
        return cls(name, protocol.settings, name_of(protocol), windows)


def compare_tests(
    one: RankTable,
    other: RankTable,
    experiment: str | None,
    subjects: Sequence[str] = (),
    movies: Sequence[str] = (),
    metrics: Mapping[str, RetrievalMetric] | None = None,
) -> tuple[list[Difference], list[SubjectDifference]]:
    """Paired differences, over subjects and of each.

    Parameters
    ----------
    experiment : that both were tested in; None: all of those
    subjects, movies : whose windows to compare; none: those of all
    metrics : as `compared_metrics` gives; None: the standard ones

    Raises
    ------
    UserError
        If the tests differ in more than the model, or subjects were averaged.
    """
    compared = compared_metrics() if metrics is None else metrics
    found: list[_Paired] = []
    of_subjects: list[SubjectDifference] = []
    one, other = (_narrowed(of, subjects, movies) for of in (one, other))
    shared = _shared(one, other, experiment)
    _must_be_one_test(one, other, {direction for _, direction in shared})
    for name, direction in shared:
        first, second = (_of(table, name, direction) for table in (one, other))
        if not first[WINDOW].equals(second[WINDOW]):
            raise UserError(
                f"{name}, {direction}: {one.name} and {other.name} were tested on other windows: "
                "store, frames, lag and the windows of their embeddings must be the same"
            )
        subject, both = first["subject"].to_numpy(), _crossed(first)
        for figure, metric in compared.items():
            hits, others = (expected(metric, _ranks(of)) for of in (first, second))
            head = name, direction, figure
            found.append(_Paired(head, hits, others, subject, both))
            of_subjects += _by_subject(head, hits, others, subject)
    return _differences(found, one.protocol["seed"]), of_subjects


def must_be_by(tested: RankTable, protocol: str | None) -> None:
    """Refuse a test by another protocol than that of this name; None: any will do.

    Raises
    ------
    UserError
        If it is, or there is no protocol of this name.
    """
    if protocol is None:
        return
    must_be_one_of("protocol", protocol, NAMED)
    if tested.protocol_name != protocol:
        raise UserError(
            f"{tested.name} was tested by the protocol {tested.protocol_name}: test it by {protocol}, or "
            "leave `protocol` out"
        )


def compared_metrics(names: Iterable[str] = ()) -> dict[str, RetrievalMetric]:
    """The standard metrics that are means over windows, and those of ``names``.

    Raises
    ------
    UserError
        As `retrieval.metrics.chosen`, and if one of ``names`` is a median.
    """
    asked = list(names)
    found, wanted = chosen(asked), {text.rpartition(":")[2] for text in asked}
    if medians := [name for name, metric in found.items() if metric.reduce == "median" and name in wanted]:
        raise UserError(f"`metrics`: {medians[0]} is a median, which is not compared window by window")
    return {name: metric for name, metric in found.items() if metric.reduce == "mean"}


def sign_flips(sums: np.ndarray, seed: int) -> np.ndarray:
    """(n, ways) totals of n figures, if all of each subject had the other sign; first as they are.

    Parameters
    ----------
    sums : (n, subjects)
    """
    subjects = sums.shape[1]
    if subjects <= ALL_WAYS:
        ways = 1 - 2 * (np.arange(2**subjects)[:, None] >> np.arange(subjects) & 1)
    else:
        rng = np.random.default_rng([seed, 2])
        ways = rng.choice([-1, 1], (SOME_WAYS, subjects))
        ways[0] = 1  # as it was
    return np.asarray(sums @ ways.T)


def _must_be_one_test(one: RankTable, other: RankTable, directions: Iterable[str]) -> None:
    told: dict[str, None] = {}  # a set in order
    for direction in sorted(directions):
        first, second = (_settings(of.protocol, direction) for of in (one, other))
        names = (name for name in first if first[name] != second[name])
        told |= {f"{name} {first[name]} and {second[name]}": None for name in names}
    if told:
        raise UserError(
            f"{one.name} and {other.name} were not put to the same test: {', '.join(told)}; {AGAIN}"
        )
    if one.protocol["average_subjects"]:
        raise UserError(
            "average_subjects: the mean of subjects was tested, and a comparison is over subjects: test them "
            "one by one"
        )


def _narrowed(tested: RankTable, subjects: Sequence[str], movies: Sequence[str]) -> RankTable:
    """Its windows of these subjects and movies; none named: all."""
    windows = tested.windows
    for kind, wanted in (("subject", subjects), ("movie", movies)):
        if unknown := sorted(set(wanted) - set(windows[kind])):
            raise UserError(f"{tested.name} was not tested on {kind} {', '.join(unknown)}")
        windows = windows[windows[kind].isin(wanted)] if wanted else windows
    return replace(tested, windows=windows)


def _settings(protocol: Mapping[str, Any], direction: str) -> dict[str, Any]:
    """Those of one direction: a pool for a modality that only one model has makes no other test.

    Neither do the weights of modalities in one query, where one is tested by itself.
    """
    (stimulus,) = (name for name in direction.split("->") if name != "fmri")
    modalities = stimulus.split("+")
    found = {
        name: of_modality(name, setting, modalities[0])
        for name, setting in protocol.items()
        if name != "joint"
    }
    return found if len(modalities) == 1 else {**found, "joint": protocol["joint"]}


def _shared(one: RankTable, other: RankTable, experiment: str | None) -> list[tuple[str, str]]:
    """Experiments and directions that both tests have, in the order of the first."""
    of_each = [
        list(dict.fromkeys(zip(of.windows["experiment"], of.windows["direction"], strict=True)))
        for of in (one, other)
    ]
    found = [key for key in of_each[0] if key in of_each[1] and experiment in (None, key[0])]
    if not found:
        has = " and ".join(
            f"{of.name} has {', '.join(f'{name} {direction}' for name, direction in keys)}"
            for of, keys in zip((one, other), of_each, strict=True)
        )
        raise UserError(f"{experiment or 'all experiments'}: nothing that both were tested in; {has}")
    return found


def _of(tested: RankTable, experiment: str, direction: str) -> pd.DataFrame:
    windows = tested.windows
    chosen = windows[(windows["experiment"] == experiment) & (windows["direction"] == direction)]
    return chosen.reset_index(drop=True)


def _ranks(windows: pd.DataFrame) -> Ranks:
    return Ranks(*(windows[name].to_numpy() for name in ("rank", "candidates", "pool")))


def _crossed(windows: pd.DataFrame) -> Crossed:
    clip = windows.groupby(["movie", "clip"]).ngroup().to_numpy()
    return Crossed(windows["subject"].to_numpy(), clip)


class _Paired(NamedTuple):
    """One figure of one direction: values of the tested windows, whose they are, and of which clips."""

    head: tuple[str, str, str]
    one: np.ndarray
    other: np.ndarray
    subject: np.ndarray
    both: Crossed

    @property
    def difference(self) -> np.ndarray:
        return self.one - self.other


def _differences(found: Sequence[_Paired], seed: int) -> list[Difference]:
    everyone = np.unique(np.concatenate([one.subject for one in found]))
    sums = [
        np.bincount(np.searchsorted(everyone, one.subject), one.difference, len(everyone)) for one in found
    ]
    totals = abs(sign_flips(np.stack(sums), seed))
    as_good = totals >= totals[:, :1] * (1 - 1e-12)  # sums in another order differ in the last digit
    rows = zip(found, as_good.mean(axis=1).tolist(), family_p(totals).tolist(), strict=True)
    return [_told(one, p, corrected) for one, p, corrected in rows]


def _told(paired: _Paired, p: float, corrected: float) -> Difference:
    low, high = paired.both.mean(paired.difference) or (None, None)
    means = float(paired.one.mean()), float(paired.other.mean()), float(paired.difference.mean())
    return Difference(*paired.head, *means, low, high, p, corrected, paired.both.subjects, paired.both.clips)


def _by_subject(
    head: tuple[str, str, str], one: np.ndarray, other: np.ndarray, subject: np.ndarray
) -> Iterator[SubjectDifference]:
    for name in sorted(set(subject)):
        own = subject == name
        means = float(one[own].mean()), float(other[own].mean()), float((one - other)[own].mean())
        yield SubjectDifference(*head, name, *means, int(own.sum()))
