"""Whom and what published weights were trained on, which the weights do not say."""

from __future__ import annotations

from typing import NamedTuple

from simdata.release.splits_files import SplitsLike, name_of
from simtrain.data.dataset import Dataset
from simtrain.data.sets import with_splits

DATA_SET, PUBLISHED = "hcp7t-movie", "published-code"  # the published code's data and splits, by our names


class TrainedOn(NamedTuple):
    """What counts as trained on.

    Attributes
    ----------
    dataset : the store, divided so that its training and validation sets are what weights have seen
    subjects : all that are listed as these, whether the store has them or not
    notes : what the user should know of it
    """

    dataset: Dataset
    subjects: list[str]
    notes: list[str]


def trained_on(dataset: Dataset, splits: SplitsLike | None) -> TrainedOn:
    """What weights were trained on by ``splits``.

    Parameters
    ----------
    splits : None: those of the published code in a store of its data; in others nothing is known

    Raises
    ------
    UserError
        If the splits are not valid or not for the store.
    """
    if splits is None and dataset.identity["catalog_name"] == DATA_SET:
        splits = PUBLISHED
    divided = with_splits(dataset, splits)
    if splits is None or divided.splits is None:
        return TrainedOn(dataset, [], [UNKNOWN])
    lists = divided.splits.subjects.lists
    subjects = [subject for split in ("train", "val") for subject in lists.get(split, [])]
    whom = f"the {len(subjects)} subjects listed" if subjects else "the training subjects"
    notes = [
        f"the weights count as trained on {whom} in {name_of(splits)}, and on its training scenes: a test on "
        "these as on new ones is refused with their names. If they were trained on others, give `splits`"
    ]
    if splits == PUBLISHED:
        notes.append("the published code picked its checkpoint by the 53 subjects that these splits test on")
    return TrainedOn(divided, subjects, notes)


UNKNOWN = (
    "which subjects the weights were trained on is not known here: a test on this store's test subjects is "
    "one on new subjects only if they are; `splits` can say it"
)
