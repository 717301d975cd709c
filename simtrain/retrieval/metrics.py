"""Metrics of retrieval: what the rank of the true candidate in its pool says, over all tested windows.

Five are always worked out (`STANDARD`); others are asked for by name, and other packages can add theirs.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np

from simdata.common.errors import UserError
from simdata.common.registry import Registry

REGISTRY = Registry("simtrain.retrieval_metrics", "retrieval metric")
TOP = (1, 5, 10)
POSITIONS = ("median_rank", "percentile")  # whose chance is plain to see from the pool
STANDARD = (*(f"top-{k}" for k in TOP), *POSITIONS)


class RetrievalMetric(ABC):
    """A value for the rank of the true candidate in its pool, and how values become one figure.

    A subclass is registered under the entry point group ``simtrain.retrieval_metrics``, or named as
    ``package.module:Class``; it is made without arguments.

    Attributes
    ----------
    reduce : of the class: the figure is the mean or the median of values, over tested windows and their pools
    better : of the class: which values are good ones
    percent : of the class: values are shares from 0 to 1, shown in percent with their spread
    digits : of the class: decimals shown if it is no share
    heading : of the class: what printed tables call it, in percent if it is a share; empty: its name
    note : of the class: what the heading means, for the caption; may be empty

    Examples
    --------
    >>> class Discounted(RetrievalMetric):  # gain, by the logarithm of the rank (Järvelin & Kekäläinen 2002)
    ...     def value(self, rank, pool):
    ...         return 1 / np.log2(1 + rank)
    ...
    ...     def expected(self, pool):
    ...         gain = np.cumsum(1 / np.log2(1 + np.arange(1, pool.max() + 1)))
    ...         return gain[pool - 1] / pool
    >>> Discounted().value(np.array([1, 3]), np.array([32, 32]))
    array([1. , 0.5])
    """

    reduce: ClassVar[Literal["mean", "median"]] = "mean"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    percent: ClassVar[bool] = False
    digits: ClassVar[int] = 3
    heading: ClassVar[str] = ""
    note: ClassVar[str] = ""

    @abstractmethod
    def value(self, rank: np.ndarray, pool: np.ndarray | int) -> np.ndarray:
        """A finite number for each rank.

        Parameters
        ----------
        rank : int of any shape, of the true candidate; 1 is best
        pool : int of the same shape, or one for all ranks: the number of candidates, 2 or more
        """

    @abstractmethod
    def expected(self, pool: np.ndarray) -> np.ndarray:
        """What `value` (or its median) is on average, if all ranks in a pool are as likely: of its shape."""

    def nominal(self, pool: np.ndarray) -> float:
        """The mean of what is expected over tested windows."""
        return math.fsum(self.expected(pool).flat) / pool.size

    def good(self, figures: np.ndarray) -> np.ndarray:
        """The figures, with the sign by which more is better."""
        return figures if self.better == "higher" else -figures


class Top(RetrievalMetric):
    """Whether the true candidate is among the first k (recall at k)."""

    k: ClassVar[int]
    percent = True

    def value(self, rank: np.ndarray, pool: np.ndarray | int) -> np.ndarray:
        return rank <= self.k

    def expected(self, pool: np.ndarray) -> np.ndarray:
        return np.minimum(1, self.k / pool)


class Top1(Top):
    k, heading = 1, "top-1 %"


class Top5(Top):
    k, heading = 5, "top-5 %"


class Top10(Top):
    k, heading = 10, "top-10 %"


class MedianRank(RetrievalMetric):
    """The median rank of the true candidate."""

    reduce, better, digits = "median", "lower", 1
    heading, note = "rank", "the median"

    def value(self, rank: np.ndarray, pool: np.ndarray | int) -> np.ndarray:
        return rank

    def expected(self, pool: np.ndarray) -> np.ndarray:
        return (pool + 1) / 2


class Percentile(RetrievalMetric):
    """The percent of the negatives that come before the true candidate: 0 is best, 50 chance."""

    better, digits = "lower", 1
    heading, note = "%ile", "mean percent of the negatives that come first"

    def value(self, rank: np.ndarray, pool: np.ndarray | int) -> np.ndarray:
        return 100 * (rank - 1) / (pool - 1)

    def expected(self, pool: np.ndarray) -> np.ndarray:
        return np.full(pool.shape, 50.0)


class ReciprocalRank(RetrievalMetric):
    """1 / rank of the true candidate, whose mean is MRR (Voorhees 1999, TREC-8 question answering track)."""

    note = "mean reciprocal rank"

    def value(self, rank: np.ndarray, pool: np.ndarray | int) -> np.ndarray:
        return 1 / rank

    def expected(self, pool: np.ndarray) -> np.ndarray:
        harmonic = np.cumsum(1 / np.arange(1, pool.max() + 1))
        return harmonic[pool - 1] / pool


def chosen(names: Iterable[str] = ()) -> dict[str, RetrievalMetric]:
    """The standard metrics, and those of ``names`` behind them.

    One that is given as ``package.module:Class`` is called by its class.

    Raises
    ------
    UserError
        If there is none of a name, it cannot be imported, it is no `RetrievalMetric`, it gives something else
        than finite numbers, or two have one name.
    """
    found: dict[str, str] = {}
    for text in (*STANDARD, *names):
        name = text.rpartition(":")[2]
        if found.setdefault(name, text) != text:
            raise UserError(f"`metrics`: {found[name]} and {text} have one name: rename one of them")
    return {name: _made(text) for name, text in found.items()}


def _made(text: str) -> RetrievalMetric:
    kind = REGISTRY.subclass(text, RetrievalMetric)
    if inspect.isabstract(kind):
        missing = " and ".join(sorted(kind.__abstractmethods__))
        raise UserError(f"retrieval metric {REGISTRY.place(text)}: has no method {missing}")
    REGISTRY.must_take(text, kind)
    REGISTRY.must_take(text, kind.value, "self", "rank", "pool")
    REGISTRY.must_take(text, kind.expected, "self", "pool")
    metric = kind()
    rank, pool = np.array([[1, 2, 2]]), np.array([[2, 2, 32]])
    given = {"value": (metric.value(rank, pool), metric.value(rank, 2)), "expected": (metric.expected(pool),)}
    for method, values in given.items():
        if any(np.shape(one) != rank.shape or not np.isfinite(one).all() for one in values):
            raise UserError(
                f"retrieval metric {REGISTRY.place(text)}: {method} must give a finite number for each window"
            )
    return metric
