"""The run folder: all that is needed to repeat a run, to go on with it, and to test its model.

``config.yaml`` (resolved), ``store.json``, ``splits.yaml`` (if the store's are known), ``features.npz``
(`training.fingerprints`), ``software.json``, ``checkpoint.pt``, ``metrics.jsonl``, ``tensorboard/``, and
later ``retrieval.json``, ``retrieval/`` and ``reconstruction/``, of validation
``retrieval-val.json`` and so on; ``initial.pt`` and ``initial.json`` if
training began from an encoder of another run, ``patches.csv`` if its patches have an order of their own,
``best.pt`` if it is validated, ``history.json`` if it went on otherwise than it began, and ``adapted.json``
with ``alignment.pt`` if it is adapted to a subject (`training.adapted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self

import numpy as np

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.release import splits_files
from simdata.release.splits import Splits
from simdata.release.splits_files import SplitsLike
from simdata.store.notes import absent_notes
from simtrain.config import composition, schema
from simtrain.config.resolved import (
    AnyResolved,
    Resolved,
    ResolvedConfig,
    ResolvedPretrainConfig,
)
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.sets import with_splits
from simtrain.models.patch_table import FILE, PatchTable
from simtrain.training import checkpoint, fingerprints, lineage, records, software
from simtrain.training import resumption as resuming
from simtrain.training.adapted import Adaptation
from simtrain.training.initial_weights import IMPORTED, RECORD, WEIGHTS, Initial, merged

SPLITS = "splits.yaml"
# The files that make up a trained model, with what it was trained on and how.
MODEL = (
    *("config.yaml", "store.json", SPLITS, software.FILE, fingerprints.FILE, WEIGHTS, RECORD, IMPORTED, FILE),
    *(checkpoint.LAST, checkpoint.BEST, "metrics.jsonl", "history.json"),
)
# What a start that was killed may leave behind.
BEGUN = {
    name
    for file in ("store.json", SPLITS, software.FILE, fingerprints.FILE, WEIGHTS, RECORD, FILE, "config.yaml")
    for name in (file, f".{file}.tmp", str(Path(file).with_suffix(".tmp")))
}


class TestedWeights(NamedTuple):
    """The weights that a run is tested with.

    Attributes
    ----------
    checkpoint : ``best`` by validation, or ``last``
    step : behind which they were kept
    note : what they are, in words
    """

    checkpoint: str
    step: int
    note: str

    def tested_in(self, split: str) -> TestedWeights:
        """The same; the note says so if the set that is tested has chosen them."""
        chosen = self.checkpoint == "best" and split == "val"
        return self._replace(note=f"{self.note}, and so chosen by this set") if chosen else self

    def __str__(self) -> str:
        return f"weights of step {self.step}, {self.note}"


class RunFolder(Generic[AnyResolved]):
    """A folder and the resolved configuration in it: a `FitRun` or a `PretrainRun`.

    ``notes`` says what has changed since it was last worked on, and ``tests`` which of its weights are tested
    (`simtrain.training.checkpoint.CHECKPOINTS`).
    """

    command: ClassVar[str]
    kind: type[AnyResolved]

    def __init__(
        self,
        path: Path,
        config: AnyResolved,
        notes: Sequence[str] = (),
        tests: str = "best",
    ) -> None:
        self.path, self.config, self.notes, self.tests = path, config, notes, tests

    @classmethod
    def open(cls, path: str | PathLike[str], tests: str = "best") -> Self:
        """An existing run, whose best weights are tested, or its last.

        Raises
        ------
        UserError
            If ``path`` is not a run folder, or one of another kind.
        """
        file = Path(path) / "config.yaml"
        if not file.is_file():
            raise UserError(
                f"{path} is not a run folder: it has no config.yaml; make one with `simtrain fit`"
            )
        data = composition.read_yaml(file.read_text(), str(file))
        if not (isinstance(data, dict) and data):
            raise UserError(f"{file} holds no configuration: the run is damaged; train it anew elsewhere")
        if (command := "pretrain" if "mae" in data else "fit") != cls.command:
            raise UserError(
                f"{path} is a run of `simtrain {command}`: this needs one of `simtrain {cls.command}`"
            )
        return cls(Path(path), composition.parse(_of_today(data), str(file), cls.kind), tests=tests)

    @classmethod
    def start(
        cls,
        path: str | Path,
        config: AnyResolved,
        dataset: Dataset,
        initial: Initial | None = None,
        table: PatchTable | None = None,
    ) -> Self:
        """A new run, or the one in ``path`` to go on with.

        Raises
        ------
        UserError
            If ``path`` holds something else: files, or a run of another configuration (but for what may
            change, see `simtrain.training.resumption`) or on other data (`simtrain.training.lineage`).
        """
        path = Path(path)
        if (path / "config.yaml").exists():
            return cls.open(path)._go_on(config, dataset)
        if path.exists() and not (path.is_dir() and all(entry.name in BEGUN for entry in path.iterdir())):
            raise UserError(f"{path} exists and is not a run folder: give `out` a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        used = _features(config, dataset)
        json_text.write(path / "store.json", lineage.record(dataset, used))
        fingerprints.write_sketches(path, used, dataset.movies)
        if dataset.splits is not None:
            json_text.write_whole(path / SPLITS, splits_files.text_of(dataset.splits))
        software.write(path, config)
        if initial is not None:
            initial.write(path)
        if table is not None:
            table.write(path)
        # Last: its presence makes the folder a run.
        json_text.write_whole(path / "config.yaml", config.to_yaml())
        return cls(path, config, _absent(dataset))

    @property
    def checkpoint(self) -> Path:
        return self.path / checkpoint.LAST

    @property
    def best(self) -> Path:
        """The weights that were best by validation; there are none where nothing is validated."""
        return self.path / checkpoint.BEST

    @property
    def tested(self) -> Path:
        """The checkpoint that the run is tested with."""
        return checkpoint.weights_file(self.path, self.tests)

    @property
    def tested_weights(self) -> TestedWeights:
        """What is known of the weights that it is tested with."""
        step = checkpoint.step_of(self.tested)
        adapted = "" if self.adaptation is None else f", {self.adaptation}"
        if self.tested == self.best:
            return TestedWeights(
                "best", step, f"the best by validation's {self.config.train.best_by}{adapted}"
            )
        note = "the last" if self.tests == "last" else "the last: the run has kept no best ones"
        return TestedWeights("last", step, f"{note}{adapted}")

    @cached_property
    def adaptation(self) -> Adaptation | None:
        """To whom it was adapted (`simtrain.adaptation`), if it was."""
        return Adaptation.read(self.path)

    @property
    def store(self) -> lineage.Record:
        """Identity of the store that the run was trained on, and of the embeddings in use."""
        return lineage.read(self.path / "store.json")

    @property
    def splits(self) -> Splits | None:
        """By which subjects and scenes were divided in its training; None if it keeps none."""
        file = self.path / SPLITS
        try:
            return splits_files.load_splits(file) if file.exists() else None
        except UserError:
            raise records.damaged(file) from None

    def divided(self, dataset: Dataset, splits: SplitsLike | None = None) -> Dataset:
        """A store with the sets in which the run goes on or is tested: those of ``splits``.

        What these leave out, and all without them, is as in its training, if the store is of the same data
        set; else as the store has it. Of an adapted run, with the runs of its subject alone.
        """
        same = self.store["catalog_name"] == dataset.identity["catalog_name"]
        found = with_splits(dataset, splits, self.splits if same else None, str(self.path / SPLITS))
        return found if self.adaptation is None else found.of_subject(self.adaptation.subject)

    @property
    def seen_subjects(self) -> set[str]:
        """The subjects that its weights were trained or validated on, before this run too."""
        return lineage.subjects_in(self.store, "train", "val") | Initial.seen_subjects(self.path)

    @property
    def trained_subjects(self) -> set[str]:
        """Those that its weights were trained on, before this run too."""
        return lineage.subjects_in(self.store, "train") | Initial.trained_subjects(self.path)

    @property
    def seen_scenes(self) -> dict[str, set[str]]:
        """For each movie, hashes of its clips and their sets in this training, before it and behind it."""
        found = merged(self.store.get("scenes", {}), Initial.seen_scenes(self.path))
        return found if self.adaptation is None else merged(self.adaptation.scenes, found)

    def must_have_projectors(self, step: int) -> None:
        """Raise a UserError if it has but an imported encoder, beside projectors of random weights."""
        record = self.path / IMPORTED
        if step == 0 and record.exists() and not records.read(record, ["projectors"])["projectors"]:
            raise UserError(
                f"{self.path} holds an imported encoder without projectors, and so nothing to test: train "
                f"them with `simtrain fit STORE --out {self.path}`, or import the encoder and its wrappers"
            )

    def must_suit(self, dataset: Dataset) -> None:
        """Refuse a store in which what the run was trained on was replaced since (`training.lineage`).

        Raises
        ------
        UserError
            If encoder, weights, settings or rows of features differ, or files of runs.
        """
        lineage.must_suit(self.path, self.store, dataset, _features(self.config, dataset))

    def known(self, samples: np.ndarray, dataset: Dataset) -> np.ndarray:
        """The ``samples`` (SAMPLE) of runs that the store had when training began."""
        return lineage.known_to(self.store, samples, dataset)

    def _go_on(self, config: AnyResolved, dataset: Dataset) -> Self:
        """The run with what may change in its configuration, which its history tells."""
        if self.adaptation is not None:
            raise UserError(
                f"{self.path} is {self.adaptation}, and is not trained further: go on with the run that it "
                "was made of, or give another `out`"
            )
        changes = schema.changes(self.config, config)
        if faults := resuming.refused(self.config, changes):
            raise UserError(
                f"{self.path} holds a run of another configuration (its value != asked for):\n  "
                + "\n  ".join(faults)
                + "\nGive another `out`; without `config`, `overrides` and `modalities` this one goes on."
            )
        software.must_be_the_same(self.path, self.config)
        notes = lineage.must_be_unchanged(self.path, self.store, dataset, _features(config, dataset))
        notes += self._follow(dataset)
        if not changes:
            return type(self)(self.path, self.config, notes)
        step = checkpoint.load(self.checkpoint)["step"] if self.checkpoint.exists() else 0
        resuming.must_not_be_behind(self.path, config.train.steps, step)
        self._record({"step": step, "changed": changes, "software": software.software_of(config)})
        json_text.write_whole(self.path / "config.yaml", config.to_yaml())
        return type(self)(self.path, config, notes + resuming.told(changes, config, step))

    def _follow(self, dataset: Dataset) -> list[str]:
        """Keep splits that were given now, in which training and validation are what they were."""
        if dataset.given_splits in (None, self.splits):
            return []
        json_text.write_whole(self.path / SPLITS, splits_files.text_of(dataset.given_splits))
        return ["other splits from now on: what it is tested on has changed, its training has not"]

    def _record(self, entry: dict[str, Any]) -> None:
        file = self.path / "history.json"
        json_text.write(file, [*records.read_list(file), entry])


def _of_today(data: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run from before ``train.best_by``, which kept weights only to stop early."""
    train = data.get("train")
    if not isinstance(train, dict) or "best_by" in train:
        return data
    return {**data, "train": {**train, "best_by": None if train.get("patience") is None else "loss"}}


class FitRun(RunFolder[ResolvedConfig]):
    """A run of `simtrain fit`."""

    command, kind = "fit", ResolvedConfig


class PretrainRun(RunFolder[ResolvedPretrainConfig]):
    """A run of `simtrain pretrain`."""

    command, kind = "pretrain", ResolvedPretrainConfig


AnyRun = FitRun | PretrainRun


def _absent(dataset: Dataset) -> list[str]:
    """Subjects of splits that were given, and not of the store, in words."""
    if dataset.given_splits is None:
        return []
    return absent_notes(dataset.given_splits, dataset.subjects, str(dataset.path))


def _features(config: Resolved, dataset: Dataset) -> list[Embedding]:
    """The embeddings that a configuration uses."""
    return list(dataset.embeddings(config).values())
