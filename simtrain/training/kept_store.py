"""What a run keeps of each store that it is trained on: its record, its splits, and sketches of its features.

Of the only store, that is in the run folder itself; of several, each has a folder ``stores/NAME`` in it, and
``stores.json`` lists them, with their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.release import splits_files
from simdata.release.splits import Splits
from simdata.store.notes import absent_notes
from simtrain.config.resolved import Resolved
from simtrain.data.collection import Collection
from simtrain.data.dataset import Dataset, Embedding
from simtrain.training import fingerprints, lineage, records

RECORD, SPLITS, FOLDER, LIST, CORTEX = "store.json", "splits.yaml", "stores", "stores.json", "cortex.npy"
FILES = (RECORD, SPLITS, fingerprints.FILE)


class KeptStore:
    """A store as it was when a run began.

    Attributes
    ----------
    run : the run folder
    folder : where it is kept: ``run``, or a folder in it
    """

    def __init__(self, run: Path, folder: Path) -> None:
        self.run, self.folder = run, folder

    @classmethod
    def write(cls, run: Path, folder: Path, dataset: Dataset, used: Sequence[Embedding]) -> Self:
        """Keep a store and the embeddings of it that are in use."""
        folder.mkdir(parents=True, exist_ok=True)
        json_text.write(folder / RECORD, lineage.record(dataset, used))
        fingerprints.write_sketches(folder, used, dataset.movies)
        if dataset.splits is not None:
            json_text.write_whole(folder / SPLITS, splits_files.text_of(dataset.splits))
        return cls(run, folder)

    @property
    def record(self) -> lineage.Record:
        """Its identity, and that of the embeddings in use."""
        return lineage.read(self.folder / RECORD)

    @property
    def splits(self) -> Splits | None:
        """By which subjects and scenes were divided in training; None if the run keeps none."""
        file = self.folder / SPLITS
        try:
            return splits_files.load_splits(file) if file.exists() else None
        except UserError:
            raise records.damaged(file) from None

    @property
    def splits_file(self) -> Path:
        """Where they are kept."""
        return self.folder / SPLITS

    def must_suit(self, dataset: Dataset, used: Sequence[Embedding]) -> None:
        """Refuse a store in which what the run was trained on was replaced since.

        Raises
        ------
        UserError
            If encoder, weights, settings or rows of features differ, or files of runs.
        """
        if faults := lineage.replaced(self.folder, self.record, dataset, used):
            raise UserError(
                f"{self._other_data(dataset, faults)}\nTest it on a store with what it was trained on, or "
                "train anew."
            )

    def must_be_unchanged(self, dataset: Dataset, used: Sequence[Embedding]) -> list[str]:
        """Refuse to go on with a training whose data are others now.

        Returns
        -------
        What has joined the store since and is left out, in words.

        Raises
        ------
        UserError
            If what was trained or validated on has changed; all of it is listed.
        """
        faults, notes = lineage.changes(self.folder, self.record, dataset, used)
        if faults:
            raise UserError(
                f"{self._other_data(dataset, faults)}\nGive another `out` to train on these, or the store "
                "and `splits` as they were."
            )
        return notes

    def follow(self, dataset: Dataset) -> bool:
        """Keep splits that were given now, in which training and validation are as before; if any were."""
        if dataset.given_splits in (None, self.splits):
            return False
        json_text.write_whole(self.folder / SPLITS, splits_files.text_of(dataset.given_splits))
        return True

    def known_runs(self, dataset: Dataset) -> np.ndarray:
        """(subjects, movies) bool: the runs that the store had when training began."""
        return lineage.known_runs(self.record, dataset)

    def _other_data(self, dataset: Dataset, faults: Sequence[str]) -> str:
        return f"{self.run} was trained on other data than {dataset.path} has now:\n  " + "\n  ".join(faults)


class StoreList(NamedTuple):
    """The stores of a run, if it has several.

    Attributes
    ----------
    names : of them, in the order in which they were given
    weights : as given; None: as many as each has training samples
    """

    names: list[str]
    weights: list[float] | None

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """That of a run folder; None where there is but one store.

        Raises
        ------
        UserError
            If the file is damaged.
        """
        file = run / LIST
        if not file.exists():
            return None
        found = records.read(file, cls._fields)
        names, weights = found["names"], found["weights"]
        sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if weights is not None:
            sound &= isinstance(weights, list) and all(isinstance(one, int | float) for one in weights)
        if not sound or len(names) < 2 or len(names) != len(weights or names):
            raise records.damaged(file)
        return cls(names, weights)


def kept_stores(run: Path) -> list[KeptStore]:
    """Those of a run folder, in the order in which they were given."""
    listed = StoreList.read(run)
    return (
        [KeptStore(run, run)]
        if listed is None
        else [KeptStore(run, run / FOLDER / name) for name in listed.names]
    )


def keep_stores(
    run: Path, dataset: Dataset, config: Resolved, weights: Sequence[float] | None
) -> list[KeptStore]:
    """Keep the store of a new run, or each of several, and what is cortex in all of them."""
    (run / LIST).unlink(missing_ok=True)  # of a start that was killed
    if not isinstance(dataset, Collection):
        return [KeptStore.write(run, run, dataset, features(config, dataset))]
    kept = [
        KeptStore.write(run, run / FOLDER / name, part, features(config, part))
        for name, part in zip(dataset.names, dataset.parts, strict=True)
    ]
    np.save(run / CORTEX, dataset.cortex)
    listed = StoreList(list(dataset.names), None if weights is None else list(weights))
    json_text.write(run / LIST, listed._asdict())
    return kept


def kept_cortex(run: Path) -> np.ndarray | None:
    """(hemispheres, vertices) bool: what is cortex in all stores of a run; None where there is but one.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    file = run / CORTEX
    if not (run / LIST).exists():
        return None
    try:
        cortex = np.load(file)
    except (OSError, ValueError, EOFError):
        raise records.damaged(file) from None
    if cortex.dtype != bool:
        raise records.damaged(file)
    return cortex


def features(config: Resolved, dataset: Dataset) -> list[Embedding]:
    """The embeddings that a configuration uses of a store."""
    return list(dataset.embeddings(config).values())


def absent(dataset: Dataset) -> list[str]:
    """Subjects of splits that were given, and not of the store, in words."""
    if dataset.given_splits is None:
        return []
    return absent_notes(dataset.given_splits, dataset.subjects, str(dataset.path))
