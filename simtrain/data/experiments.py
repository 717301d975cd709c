"""Experiments: what was held out of training, subjects, scenes or both, and the set in which it is tested.

The test set says how good a model is. What is chosen, be it a lag, a size or a model, is chosen in the
validation set, in the same experiments: what was chosen by a test is not tested by it. Nothing is held out of
the training set, whose one experiment is ``SEEN``.
"""

from __future__ import annotations

from collections.abc import Iterable

from simtrain.data.dataset import SPLITS, Dataset

HELD_OUT = {"new-subjects": (True, False), "new-scenes": (False, True), "both": (True, True)}
EXPERIMENTS = tuple(HELD_OUT)
ADAPTED = "both"  # the one for a run that is adapted to a subject, with training scenes of theirs
SEEN = "seen"
ALL = "all"  # of the experiments
SET_NAMES = {"train": "training set", "val": "validation set", "test": "test set"}
TESTED_SETS = ("test", "val")  # that can be asked for


def experiments_in(split: str) -> dict[str, tuple[int, int]]:
    """The experiments in a set, with the sets of their subjects and scenes by place in ``SPLITS``."""
    train, held_out = SPLITS.index("train"), SPLITS.index(split)
    if held_out == train:
        return {SEEN: (train, train)}
    return {
        name: (held_out if subjects else train, held_out if scenes else train)
        for name, (subjects, scenes) in HELD_OUT.items()
    }


def file_of(stem: str, split: str) -> str:
    """What a test's file or folder is called: ``retrieval`` of the test set, ``retrieval-val``, ..."""
    return stem if split == "test" else f"{stem}-{split}"


def why_none(dataset: Dataset, experiments: Iterable[str], split: str = "test") -> str:
    """Which sets of experiments without windows are empty, in words and with what to do."""
    in_set = experiments_in(split)
    subjects, scenes = zip(*(in_set[name] for name in experiments), strict=True)
    here = dataset.subject_split[dataset.complete.any(axis=1)]
    empty = [
        f"no subject with a run is in {SPLITS[one]}" for one in dict.fromkeys(subjects) if one not in here
    ]
    empty += [
        f"no scene is in {SPLITS[one]}" for one in dict.fromkeys(scenes) if one not in dataset.scene_split
    ]
    if not empty:
        return "see `simdata info` for its runs, films and clips"
    instead = "; `split` test is there, but nothing may be chosen by it" if split == "val" else ""
    return f"{' and '.join(empty)}; give other `splits`, or the store its own by `simdata resplit`{instead}"
