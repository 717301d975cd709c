"""The test of one experiment: windows, pools and shifts, drawn once, and scores at any lag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.common.finite import must_tell_apart
from simtrain.data.dataset import Dataset
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.intervals import Crossed
from simtrain.retrieval.joint import JointWeights
from simtrain.retrieval.metrics import Top1, chosen
from simtrain.retrieval.pools import gap
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.scores import SHIFTS, Score, draw_shifts
from simtrain.retrieval.summary import Measure, rows_of, summarise
from simtrain.retrieval.trials import EmbeddedWindows, trials_of
from simtrain.retrieval.units import average_clips, average_fmri, film_clips, find_units, members


class TestedModel(Interface):
    """What is tested: a `Learner`, or a baseline.

    ``window`` is how many s its windows cover, the longer of BOLD and clip.
    """

    @property
    def window(self) -> int: ...

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, torch.Tensor]:
        """(n, dim) of every stimulus modality for clips that begin at second ``clip`` of ``movie``."""


@dataclass(frozen=True)
class Examinee:
    """What is put to the test on a store.

    Attributes
    ----------
    banks : by modality of the stimulus, what the model makes of BOLD to compare with it; of the same units
    """

    model: TestedModel
    banks: Mapping[str, Bank]
    dataset: Dataset

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.banks)

    @property
    def units(self) -> tuple[str, ...]:
        """What of a window is tested."""
        return next(iter(self.banks.values())).units


@dataclass(frozen=True)
class DirectionOutcome:
    """One direction of an experiment; ``tested`` is (draws, tested) WINDOW, once for each unit in turn."""

    score: Score
    measures: dict[str, Measure]
    tested: np.ndarray


class Examination:
    """Windows to test, pools and shifts, drawn once; they can be scored at any lag.

    Parameters
    ----------
    windows : (n,) WINDOW of one experiment
    name : of the experiment, for messages
    protocol : of the ``modalities``
    """

    def __init__(
        self,
        tested: Examinee,
        windows: np.ndarray,
        name: str,
        protocol: Protocol,
        modalities: Sequence[str],
    ) -> None:
        dataset = tested.dataset
        self._model, self._protocol = tested.model, protocol
        self._banks = {modality: tested.banks[modality] for modality in modalities}
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
        trials = trials_of(rng, units, film_clip, protocol, gap(protocol, tested.model.window), name)
        shifts = draw_shifts(rng, self._clips["movie"], SHIFTS)
        self._shifts = np.concatenate([np.arange(len(self._clips))[None], shifts])
        self._order = np.arange(len(self._clips))
        if protocol.shuffle:
            self._order = rng.permutation(len(self._clips))
        self._tested = np.tile(units[trials.tested], len(tested.units))
        self._table_row = rows_of(self._tested, len(tested.units))
        self._crossed = Crossed(self._tested["subject"], film_clips(self._tested, dataset.segment))
        # From here on, only what is in a pool.
        used = trials.used
        self._units, self._row, self._trials = units[used], row[used], trials.among(used)
        self._metrics = chosen(protocol.metrics)
        self._windows = windows[members(self._units, windows, seconds)]

    def outcomes(
        self, lags: Sequence[int], joint: JointWeights | None
    ) -> dict[int, dict[str, DirectionOutcome]]:
        """At each of ``lags``, in s.

        Raises
        ------
        UserError
            If embeddings are not finite, or those of a modality all the same.
        """
        found = self._embedded(lags)
        if joint is not None:
            for parts in found.values():
                parts[joint.name] = EmbeddedWindows.joined(parts, joint.weights)
        return {lag: self._directions(parts) for lag, parts in found.items()}

    def top1_by_weights(self, points: np.ndarray) -> np.ndarray:
        """(n,) top-1 of one query of all modalities, the mean of both ways, by weights (n, modalities)."""
        lag = self._protocol.lag
        parts, as_it_is = self._embedded([lag])[lag], np.arange(len(self._clips))[None]
        found = []
        for weights in points.tolist():
            joined = EmbeddedWindows.joined(parts, dict(zip(parts, weights, strict=True)))
            ways = self._trials.scores(joined, as_it_is, {"top-1": Top1()})
            found.append(np.mean([way.figures["top-1"][0] for way in ways]))
        return np.array(found)

    def _embedded(self, lags: Sequence[int]) -> dict[int, dict[str, EmbeddedWindows]]:
        """By lag and modality."""
        windows = np.concatenate([_moved(self._windows, lag) for lag in lags])
        for bank in set(self._banks.values()):
            bank.add(windows)
        stimuli = average_clips(
            self._embed_clips, self._clips["movie"], self._clips["clip"], self._protocol.average_windows
        )
        for modality, vectors in stimuli.items():
            must_tell_apart(vectors, modality, "clips", self._name)
        found = {}
        for lag in lags:
            fmri = {bank: self._fmri(bank, lag) for bank in set(self._banks.values())}
            found[lag] = {
                modality: EmbeddedWindows(fmri[bank], stimuli[modality][self._order], self._row)
                for modality, bank in self._banks.items()
            }
        return found

    def _outcome(self, score: Score) -> DirectionOutcome:
        measures = summarise(score, self._crossed, self._table_row)
        return DirectionOutcome(score, measures, self._tested)

    def _fmri(self, bank: Bank, lag: int) -> np.ndarray:
        """(units, windows, dim) float32."""
        windows = _moved(self._windows, lag)
        units, embedded = _moved(self._units, lag), bank[windows]
        averaged = [
            average_fmri(units, windows, of_unit, self._protocol.average_windows)
            for of_unit in embedded.transpose(1, 0, 2)
        ]
        for vectors in averaged:
            must_tell_apart(vectors, "fmri", "windows", f"{self._name}, lag {lag} s")
        return np.stack(averaged)

    def _directions(self, parts: Mapping[str, EmbeddedWindows]) -> dict[str, DirectionOutcome]:
        found: dict[str, DirectionOutcome] = {}
        for modality, embedded in parts.items():
            there, back = self._trials.scores(embedded, self._shifts, self._metrics)
            found |= {
                f"fmri->{modality}": self._outcome(there),
                f"{modality}->fmri": self._outcome(back),
            }
        return found

    @torch.no_grad()
    def _embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, np.ndarray]:
        embedded = self._model.embed_clips(movie, clip)
        return {modality: embedded[modality].float().cpu().numpy() for modality in self._banks}


def _moved(windows: np.ndarray, lag: int) -> np.ndarray:
    """The same clips with the BOLD of another lag."""
    moved = windows.copy()
    moved["second"] = moved["clip"] + lag
    return moved
