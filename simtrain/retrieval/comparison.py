"""Two models, or a model and a baseline, in the same retrieval test: what is between them, and is it chance?

Both were tested on the same windows against the same pools, so that hits are compared window by window. Other
subjects are what a difference is to hold for: its interval draws subjects with replacement
(`retrieval.bootstrap`), and its p-value, two-sided, flips the sign of each subject's sum of differences, all
ways for up to 12 subjects and 10,000 ways beyond (Nichols & Holmes 2002, Human Brain Mapping 15, on flipping
signs).
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
from simtrain.retrieval.bootstrap import Bootstrap
from simtrain.retrieval.by_modality import of_modality
from simtrain.retrieval.joint import NONE
from simtrain.retrieval.metrics import RetrievalMetric, chosen
from simtrain.retrieval.named_protocols import NAMED, OURS, name_of
from simtrain.retrieval.protocol import EXACT, SETTINGS, Protocol
from simtrain.retrieval.ranks import Ranks, expected

ALL_WAYS = 12  # subjects: 4,096 ways of signs
SOME_WAYS = 10_000
# What both tests must have alike.
WINDOW = ["draw", "subject", "hemisphere", "movie", "second", "clip_second", "candidates", "pool"]
TEXTS = dict.fromkeys(("experiment", "direction", "subject", "hemisphere", "movie"), str)
# What tests did before there was a choice.
SINCE = {"split": "test", "joint": NONE, "clips_of": "experiment", "subjects": [], "movies": []}
AGAIN = "test it again with `simtrain retrieve` or `simtrain baseline`"


class Difference(NamedTuple):
    """One figure of one direction: means over tested windows, ``difference`` is ``one`` less ``other``.

    ``low`` and ``high`` bound the 95 % interval over subjects, None if there is only one. Shares are from 0
    to 1, ``percentile`` is percent.
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
    subjects: int


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
            if "candidates" not in windows:
                windows["candidates"] = windows["pool"]  # before there was a choice, pools were drawn
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
    overall: list[Difference] = []
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
        subject = first["subject"].to_numpy()
        for figure, metric in compared.items():
            hits, others = (expected(metric, _ranks(of)) for of in (first, second))
            head = name, direction, figure
            overall.append(_overall(head, hits, others, subject, one.protocol["seed"]))
            of_subjects += _by_subject(head, hits, others, subject)
    return overall, of_subjects


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


def sign_flip_p(sums: np.ndarray, seed: int) -> float:
    """Two-sided p-value of the total of (subjects,) sums, if each could as well have the other sign."""
    if len(sums) <= ALL_WAYS:
        ways = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
    else:
        rng = np.random.default_rng([seed, 2])
        ways = rng.choice([-1, 1], (SOME_WAYS, len(sums)))
        ways[0] = 1  # as it was
    totals = abs(ways @ sums)
    return float(np.mean(totals >= totals[0] * (1 - 1e-12)))  # sums in another order differ in the last digit


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


def _overall(
    head: tuple[str, str, str], one: np.ndarray, other: np.ndarray, subject: np.ndarray, seed: int
) -> Difference:
    difference = one - other
    _, whose = np.unique(subject, return_inverse=True)
    low, high = Bootstrap(subject[None], seed).mean(difference[None]) or (None, None)
    p = sign_flip_p(np.bincount(whose, weights=difference), seed)
    means = float(one.mean()), float(other.mean()), float(difference.mean())
    return Difference(*head, *means, low, high, p, int(whose.max() + 1))


def _by_subject(
    head: tuple[str, str, str], one: np.ndarray, other: np.ndarray, subject: np.ndarray
) -> Iterator[SubjectDifference]:
    for name in sorted(set(subject)):
        own = subject == name
        means = float(one[own].mean()), float(other[own].mean()), float((one - other)[own].mean())
        yield SubjectDifference(*head, name, *means, int(own.sum()))
