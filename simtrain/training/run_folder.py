"""The run folder: all that is needed to repeat a run, to go on with it, and to test its model.

``config.yaml`` (resolved), ``store.json``, ``splits.yaml`` (if the store's are known), ``features.npz``
(`training.fingerprints`), or of several stores ``stores/``, ``stores.json`` and ``cortex.npy``
(`training.kept_store`), ``software.json``, ``checkpoint.pt``, ``metrics.jsonl``, ``tensorboard/``, and
later ``retrieval.json``, ``retrieval/`` and ``reconstruction/``, of validation
``retrieval-val.json`` and so on; ``initial.pt`` and ``initial.json`` if
training began from an encoder of another run, ``patches.csv`` if its patches have an order of their own,
``best.pt`` if it is validated, ``history.json`` if it went on otherwise than it began, and ``adapted.json``
with ``alignment.pt`` if it is adapted to a subject (`training.adapted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self

import numpy as np

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.release.splits_files import SplitsLike
from simtrain.config import composition, schema
from simtrain.config.resolved import AnyResolved, ResolvedConfig, ResolvedPretrainConfig
from simtrain.data.collection import Collection, parts_of, whole_table
from simtrain.data.dataset import Dataset
from simtrain.data.sets import with_splits
from simtrain.models.patch_table import FILE, PatchTable
from simtrain.training import checkpoint, kept_store, records, software
from simtrain.training import resumption as resuming
from simtrain.training.adapted import Adaptation
from simtrain.training.exposure import Exposure, of_data_set, together
from simtrain.training.initial_weights import IMPORTED, RECORD, WEIGHTS, Initial
from simtrain.training.kept_store import KeptStore, StoreList, features

STORES = (*kept_store.FILES, kept_store.FOLDER, kept_store.LIST, kept_store.CORTEX)
# The files that make up a trained model, with what it was trained on and how.
MODEL = (
    *("config.yaml", *STORES, software.FILE, WEIGHTS, RECORD, IMPORTED, FILE),
    *(checkpoint.LAST, checkpoint.BEST, "metrics.jsonl", "history.json"),
)
# What a start that was killed may leave behind.
BEGUN = {
    name
    for file in (*STORES, software.FILE, WEIGHTS, RECORD, FILE, "config.yaml")
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
        weights: Sequence[float] | None = None,
    ) -> Self:
        """A new run, or the one in ``path`` to go on with.

        Parameters
        ----------
        weights : of several stores (`simtrain.data.mixture`)

        Raises
        ------
        UserError
            If ``path`` holds something else: files, or a run of another configuration (but for what may
            change, see `simtrain.training.resumption`) or on other data (`simtrain.training.lineage`).
        """
        path = Path(path)
        if (path / "config.yaml").exists():
            return cls.open(path)._go_on(config, dataset, weights)
        if path.exists() and not (path.is_dir() and all(entry.name in BEGUN for entry in path.iterdir())):
            raise UserError(f"{path} exists and is not a run folder: give `out` a new or empty folder")
        path.mkdir(parents=True, exist_ok=True)
        kept_store.keep_stores(path, dataset, config, weights)
        software.write(path, config)
        if initial is not None:
            initial.write(path)
        if table is not None:
            table.write(path)
        # Last: its presence makes the folder a run.
        json_text.write_whole(path / "config.yaml", config.to_yaml())
        return cls(path, config, [note for part in parts_of(dataset) for note in kept_store.absent(part)])

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
    def stores(self) -> list[KeptStore]:
        """What it keeps of each store that it was trained on."""
        return kept_store.kept_stores(self.path)

    @property
    def names(self) -> list[str]:
        """Of its stores, if it has several."""
        listed = StoreList.read(self.path)
        return [] if listed is None else listed.names

    @property
    def weights(self) -> list[float] | None:
        """Those of several stores, as given; None: by their numbers of training samples."""
        listed = StoreList.read(self.path)
        return None if listed is None else listed.weights

    def number_of(self, dataset: Dataset) -> int | None:
        """Which of its stores a store is: of the same data set, and of several such the most alike."""
        known = [one.record for one in self.stores]
        same = [
            number
            for number, one in enumerate(known)
            if one["catalog_name"] == dataset.identity["catalog_name"]
        ]
        subjects = set(dataset.subjects)
        return max(same, key=lambda number: len(subjects & known[number]["subjects"].keys()), default=None)

    def divided(
        self, dataset: Dataset, splits: SplitsLike | None = None, number: int | None = None
    ) -> Dataset:
        """A store with the sets in which the run goes on or is tested: those of ``splits``.

        What these leave out, and all without them, is as in its training, if the store is of the same data
        set; else as the store has it. Of an adapted run, with the runs of its subject alone. Of a run of
        several stores, without the vertices that are not cortex in all of them.

        Parameters
        ----------
        number : which of its stores it is; None: as `number_of` finds
        """
        number = self.number_of(dataset) if number is None else number
        kept = None if number is None else self.stores[number]
        otherwise, origin = (None, "") if kept is None else (kept.splits, str(kept.splits_file))
        found = with_splits(dataset, splits, otherwise, origin)
        if (cortex := kept_store.kept_cortex(self.path)) is not None:
            found = _narrowed(found, cortex, self.path)
        return found if self.adaptation is None else found.of_subject(self.adaptation.subject)

    @property
    def exposures(self) -> list[list[Exposure]]:
        """What its weights have seen of each data set, in this training and in those before it."""
        own = [Exposure.of(store.record) for store in self.stores]
        if self.adaptation is not None:
            scenes = {movie: frozenset([one]) for movie, one in self.adaptation.scenes.items()}
            return [own, [Exposure(None, frozenset(), frozenset(), scenes)], *Initial.exposures(self.path)]
        return [own, *Initial.exposures(self.path)]

    def seen(self, dataset: Dataset) -> Exposure:
        """What its weights have seen of the data set of a store."""
        return together(one for own in self.exposures for one in of_data_set(own, dataset))

    @property
    def seen_subjects(self) -> frozenset[str]:
        """The subjects of all data sets that its weights were trained or validated on, before it too."""
        return together(one for own in self.exposures for one in own).seen

    @property
    def trained_subjects(self) -> frozenset[str]:
        """Those that its weights were trained on, before this run too."""
        return together(one for own in self.exposures for one in own).trained

    def weights_tested_on(self, dataset: Dataset, split: str) -> TestedWeights:
        """The weights that a test in a set of a store has, whose note says if that is of another data set."""
        found = self.tested_weights.tested_in(split)
        if self.number_of(dataset) is not None:
            return found
        known = " and ".join(dict.fromkeys(store.record["catalog_name"] for store in self.stores))
        return found._replace(note=f"{found.note}, of {known}: this is another data set")

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
        self.stores[self.number_of(dataset) or 0].must_suit(dataset, features(self.config, dataset))

    def known(self, samples: np.ndarray, dataset: Dataset) -> np.ndarray:
        """The ``samples`` (SAMPLE) of runs that the stores had when training began."""
        pairs = zip(self.stores, parts_of(dataset), strict=True)
        known = whole_table([store.known_runs(part) for store, part in pairs])
        return samples[known[samples["subject"], samples["movie"]]]

    def _go_on(self, config: AnyResolved, dataset: Dataset, weights: Sequence[float] | None) -> Self:
        """The run with what may change in its configuration, which its history tells."""
        if self.adaptation is not None:
            raise UserError(
                f"{self.path} is {self.adaptation}, and is not trained further: go on with the run that it "
                "was made of, or give another `out`"
            )
        self.must_be_of(list(dataset.names) if isinstance(dataset, Collection) else [], weights)
        changes = schema.changes(self.config, config)
        if faults := resuming.refused(self.config, changes):
            raise UserError(
                f"{self.path} holds a run of another configuration (its value != asked for):\n  "
                + "\n  ".join(faults)
                + "\nGive another `out`; without `config`, `overrides` and `modalities` this one goes on."
            )
        software.must_be_the_same(self.path, self.config)
        pairs = list(zip(self.stores, parts_of(dataset), strict=True))
        notes = [
            note for store, part in pairs for note in store.must_be_unchanged(part, features(config, part))
        ]
        if any([store.follow(part) for store, part in pairs]):
            notes += ["other splits from now on: what it is tested on has changed, its training has not"]
        if not changes:
            return type(self)(self.path, self.config, notes)
        step = checkpoint.load(self.checkpoint)["step"] if self.checkpoint.exists() else 0
        resuming.must_not_be_behind(self.path, config.train.steps, step)
        self._record({"step": step, "changed": changes, "software": software.software_of(config)})
        json_text.write_whole(self.path / "config.yaml", config.to_yaml())
        return type(self)(self.path, config, notes + resuming.told(changes, config, step))

    def must_be_of(self, names: Sequence[str], weights: Sequence[float] | None = None) -> None:
        """Refuse other stores, or other weights of them, than the run began with.

        Parameters
        ----------
        names : of several stores (`simtrain.data.collection.distinct_names`); none of one
        """
        if list(names) != self.names:
            of = f"of {', '.join(self.names)}, in this order" if self.names else "of one store"
            raise UserError(f"{self.path} is a run {of}: give what it was trained on, or another `out`")
        if weights is not None and list(weights) != self.weights:
            raise UserError(
                f"{self.path} was begun with {_told(self.weights)}, not with {_told(weights)}: go on without "
                "`weights`, or give another `out`"
            )

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


def _told(weights: Sequence[float] | None) -> str:
    listed = "as many as samples of training" if weights is None else ",".join(f"{one:g}" for one in weights)
    return f"`weights` {listed}"


def _narrowed(dataset: Dataset, cortex: np.ndarray, run: Path) -> Dataset:
    """A store with those vertices alone that a run of several stores sees."""
    if cortex.shape != dataset.cortex.shape:
        sizes = " and ".join(" x ".join(map(str, one.shape)) for one in (cortex, dataset.cortex))
        raise UserError(
            f"{run} is of another mesh than {dataset.path} ({sizes}): test it on stores of its own"
        )
    return replace(dataset, cortex=dataset.cortex & cortex)
