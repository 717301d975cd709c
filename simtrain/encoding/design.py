"""What encoding models of subjects with the same runs share: their seconds, features and shifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.release.splits import REPEAT
from simtrain.baselines.ridge import film_folds
from simtrain.baselines.targets import Targets
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.windows import TRAIN, Windows
from simtrain.encoding.banded_ridge import BandedRidge
from simtrain.encoding.noise_ceiling import repeated_rows
from simtrain.encoding.rows import film_clips, rows_of, seen_by
from simtrain.encoding.shift_null import draw_shifts


@dataclass(frozen=True)
class Design:
    """Of some runs.

    Attributes
    ----------
    train, test : (n,) ROW
    repeated : (repeats, seconds) ROW of the repeated clip; no repeats where there are less than two
    ridge : of the features of training and test
    columns : of all spaces and delays
    shifts : movie -> (shifts,) by how many seconds what is predicted of it is shifted; empty: no p
    distinct : positions of shifts that differ in these runs
    """

    train: np.ndarray
    test: np.ndarray
    repeated: np.ndarray
    ridge: BandedRidge
    columns: int
    shifts: dict[int, np.ndarray]
    distinct: np.ndarray


class Designs:
    """Designs of a store's films.

    Parameters
    ----------
    config : its embeddings and lag
    delays : first and last, s after the lag, at which BOLD follows a clip's beginning
    split : set of scenes to test in
    shifts : how many at most

    Attributes
    ----------
    spaces : names of feature spaces
    shifts : movie -> (shifts,), of all movies
    notes : what there is no data for

    Raises
    ------
    UserError
        If there are no rows for training or none for test.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ResolvedConfig,
        delays: tuple[int, int],
        split: str,
        shifts: int,
        device: torch.device,
    ) -> None:
        self._dataset, self._split, self._device = dataset, split, device
        used = Windows.of(dataset, config)
        self._targets = Targets(used.embeddings, used.clips)
        self.spaces = [embedding.variable for embedding in used.embeddings.values()]
        self._delays, self._lag = np.arange(delays[0], delays[1] + 1), config.data.lag
        lag = self._lag
        self._train, self._test = (
            rows_of(dataset, used.clips, of_set, self._delays, lag) for of_set in (TRAIN, SPLITS.index(split))
        )
        for rows, name in ((self._train, "training"), (self._test, split)):
            if not len(rows):
                raise UserError(
                    f"{dataset.path} has no second of {name} scenes with all clips of `delays` {delays[0]} "
                    f"to {delays[1]} s in its scene: take fewer, or other `splits`"
                )
        self._repeated = repeated_rows(dataset, lag)
        self.notes: list[str] = []
        if not len(self._repeated):
            self.notes.append(f"no noise ceiling: no two runs of {dataset.path} show a clip named {REPEAT}")
        self.shifts = self._draw(shifts) if shifts else {}
        self._kept: dict[bytes, Design] = {}

    def of(self, subject: int) -> Design:
        """That of a subject's runs; the last one is kept, since most subjects have the same."""
        seen = np.packbits(self._dataset.run[subject] > 0).tobytes()
        if seen not in self._kept:
            self._kept.clear()  # two would take twice the memory
            self._kept[seen] = self._made(subject)
        return self._kept[seen]

    def rows(self, subject: int) -> tuple[np.ndarray, np.ndarray]:
        """Of training and of test, those that the subject has usable BOLD of.

        Raises
        ------
        UserError
            If training scenes are of less than two clips, or there are none to test in.
        """
        dataset, lag = self._dataset, self._lag
        train, test = (rows[seen_by(dataset, subject, rows, lag)] for rows in (self._train, self._test))
        clips = film_clips(self._dataset, train)
        if clips < 2 or not len(test):
            name = self._dataset.subjects[subject]
            raise UserError(
                f"`subjects` {name}: its runs have training scenes of {clips} clips of the film "
                f"(cross-validation needs 2), and {len(test)} seconds of {self._split} scenes: leave it out, "
                "or give other `splits`"
            )
        return train, test

    def _made(self, subject: int) -> Design:
        train, test = self.rows(subject)
        x, new = self._features(train), self._features(test)
        ridge = BandedRidge(x, new, film_folds(train, self._dataset.segment), self._device)
        repeated = self._repeated[seen_by(self._dataset, subject, self._repeated, self._lag).all(axis=1)]
        repeated = repeated if len(repeated) > 1 else repeated[:0]
        shifts = {movie: by for movie, by in self.shifts.items() if movie in test["movie"]}
        together = np.stack(list(shifts.values())) if shifts else np.empty((1, 0))
        _, distinct = np.unique(together, axis=1, return_index=True)
        columns = sum(space.shape[1] for space in x)
        return Design(train, test, repeated, ridge, columns, shifts, distinct)

    def _draw(self, count: int) -> dict[int, np.ndarray]:
        """Movie -> (shifts,) of the seconds to test in."""
        movies, seconds = np.unique(self._test["movie"], return_counts=True)
        drawn = draw_shifts(dict(zip(movies.tolist(), seconds.tolist(), strict=True)), count)
        return dict(zip(movies.tolist(), drawn.T, strict=True))

    def _features(self, rows: np.ndarray) -> list[np.ndarray]:
        """Of each space (n, delays * features) float32, delay by delay."""
        found = [self._targets.embed(rows["movie"], rows["clip"] - delay) for delay in self._delays]
        return [np.concatenate([at_delay[name] for at_delay in found], axis=1) for name in found[0]]
