"""What a run keeps of the store that it is trained on, and what of it has changed since.

Training is determined by the runs of the training set in training scenes, validation by the others that it
looks at. Subjects and films that join the test set change neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from simtrain.data.dataset import SPLITS, Dataset, Embedding, Identity
from simtrain.data.windows import TRAIN, VAL
from simtrain.training import fingerprints, records

SETS = {"training": ((TRAIN, TRAIN),), "validation": ((VAL, TRAIN), (TRAIN, VAL), (VAL, VAL))}

ALWAYS = ("subjects", "runs", "catalog_name", "catalog_sha256")  # in the record of every run


class Record(Identity):
    """A store's identity, the features in use, and the source of each run in each set, as JSON.

    Runs of before a part was kept lack it.
    """

    embeddings: dict[str, fingerprints.Description]
    bold: dict[str, dict[str, str | None]]


def read(file: Path) -> Record:
    """What a run kept of its store.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    return cast(Record, records.read(file, ALWAYS))


def record(dataset: Dataset, embeddings: Iterable[Embedding]) -> Record:
    """What a run on a store keeps of it."""
    return {
        **dataset.identity,
        "embeddings": {one.variable: fingerprints.describe(one, dataset.movies) for one in embeddings},
        "bold": {name: _sources(dataset, sets) for name, sets in SETS.items()},
    }


def subjects_in(known: Record, *sets: str) -> set[str]:
    """Those that were in one of the sets when a training on a store began."""
    return {subject for subject, split in known["subjects"].items() if split in sets}


def changes(
    folder: Path, known: Record, dataset: Dataset, embeddings: Iterable[Embedding]
) -> tuple[list[str], list[str]]:
    """What of the data of a training is other now, of what it was trained and validated on.

    Parameters
    ----------
    folder : where what is known is kept, with the sketches of features

    Returns
    -------
    faults : all that is other, in words
    notes : what has joined the store since and is left out, in words
    """
    embeddings = list(embeddings)
    now = record(dataset, embeddings)
    faults, notes = _runs(known, now)
    faults += _scenes(known, now) + _cortex(known, now) + _places(known, dataset)
    faults += [fault for one in embeddings for fault in _features(folder, known, one, dataset, True)]
    return faults, notes


def replaced(folder: Path, known: Record, dataset: Dataset, embeddings: Iterable[Embedding]) -> list[str]:
    """Which features, or runs of the training, were replaced since, in words.

    Other subjects, films and stores are fine: a movie or a run is compared if the store has one of that name
    in the same data set (``catalog_name``).
    """
    faults = [fault for one in embeddings for fault in _features(folder, known, one, dataset, False)]
    faults += _places(known, dataset)
    if known["catalog_name"] == dataset.identity["catalog_name"]:
        then = {key: source for runs in known.get("bold", {}).values() for key, source in runs.items()}
        faults += _replaced(then, _sources(dataset, _ANY))
    return faults


def known_runs(known: Record, dataset: Dataset) -> np.ndarray:
    """(subjects, movies) bool: the runs that the store had when training began."""
    if "bold" not in known:  # runs from before it was kept
        return np.ones(dataset.complete.shape, bool)
    keys = {key for runs in known["bold"].values() for key in runs}
    return np.array(
        [[f"{subject}/{movie}" in keys for movie in dataset.movies] for subject in dataset.subjects]
    )


_ANY = tuple((subjects, scenes) for subjects in range(len(SPLITS)) for scenes in range(1, len(SPLITS)))


def _sources(dataset: Dataset, sets: Iterable[tuple[int, int]]) -> dict[str, str | None]:
    """The hash of the file of each whole run in sets of subjects and scenes, None if it is not known."""
    found = {}
    for subject, movie in np.argwhere(dataset.complete):
        scenes = set(dataset.scene_split[movie].tolist())
        if any(dataset.subject_split[subject] == own and scene in scenes for own, scene in sets):
            key = f"{dataset.subjects[subject]}/{dataset.movies[movie]}"
            found[key] = dataset.sources.get(key)
    return found


def _runs(known: Record, now: Record) -> tuple[list[str], list[str]]:
    """What has become of the runs: faults, and what has joined and does not matter."""
    if "bold" not in known:  # runs from before it was kept
        return [], []
    faults, joined = [], []
    for name in SETS:
        then, new = known["bold"][name], now["bold"][name]
        if gone := [key for key in then if key not in new]:
            faults.append(f"{name} runs are gone, or in another set: {_listed(gone)}")
        more = [key for key in new if key not in then]
        if more and name == "training":
            faults.append(f"training runs joined: {_listed(more)}")
        joined += more if name != "training" else []
        faults += _replaced(then, new)
    notes = [f"joined since training began, and left out of validation: {_listed(joined)}"] if joined else []
    return faults, notes


def _replaced(then: dict[str, str | None], now: dict[str, str | None]) -> list[str]:
    other = [key for key, source in then.items() if source and now.get(key) and now[key] != source]
    return [f"BOLD was converted again from other files: {_listed(other)}"] if other else []


def _scenes(known: Record, now: Record) -> list[str]:
    then = known.get("scenes", {})
    other = [movie for movie in _movies(known) if then[movie] != now["scenes"].get(movie)]
    return [f"scenes, or their sets, are others: {_listed(other)}"] if other else []


def _cortex(known: Record, now: Record) -> list[str]:
    same = known.get("cortex", now["cortex"]) == now["cortex"]
    return [] if same else ["cortex: other vertices or parcels are in use"]


def _places(known: Record, dataset: Dataset) -> list[str]:
    """Parcels are those of training, and vertices are no parcels."""
    if known.get("parcels") == dataset.identity.get("parcels"):
        return []
    if "parcels" in known:
        return [
            "it was trained on parcels, and these are others" if dataset.parcels else "it knows parcels alone"
        ]
    return ["it was trained on vertices, and these are parcels"]


def _features(folder: Path, known: Record, one: Embedding, dataset: Dataset, all_of_them: bool) -> list[str]:
    """What is not as in training of features; with ``all_of_them``, also rows that are there or missing."""
    then = known.get("embeddings", {}).get(one.variable)
    if then is None:
        return []
    if then["made"] != one.made:
        return [
            f"{one.variable} is of another encoder, other weights or other settings: embed the films as then"
        ]
    if not isinstance(then["values"], dict):  # runs from before there was more than one hash
        return []
    if then["features"] != one.values.shape[-1]:
        return [f"{one.variable} has {one.values.shape[-1]} features, and had {then['features']}"]
    if known["catalog_name"] != dataset.identity["catalog_name"]:
        return []  # movies of the same name are others
    changed = fingerprints.changed_rows(folder, then, one, dataset.movies)
    counts = [f"{movie} ({count})" for movie, count in changed.items()]
    faults = [f"{one.variable} was replaced: other rows in {_listed(counts)}"] if counts else []
    if all_of_them and (other := fingerprints.other_gaps(folder, _movies(known), one, dataset.movies)):
        faults.append(f"{one.variable}: rows joined or are gone in {_listed(other)}")
    return faults


def _movies(known: Record) -> list[str]:
    """Those that were trained or validated on."""
    runs = [key for of_set in known.get("bold", {}).values() for key in of_set]
    return list(dict.fromkeys(key.partition("/")[2] for key in runs))


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
