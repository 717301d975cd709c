"""The sets of subjects and scenes of an opened store: its own, or those that other splits make of it."""

from __future__ import annotations

from simdata.release.splits import Splits
from simdata.release.splits_files import SplitsLike, load_splits, place_of
from simdata.store.splitting import divided
from simtrain.data.dataset import Dataset

STORE = "store"  # names a store's own splits, where others are the default


def with_splits(
    dataset: Dataset, splits: SplitsLike | None, otherwise: Splits | None = None, origin: str = ""
) -> Dataset:
    """A store divided by splits, without a change of its files.

    Parameters
    ----------
    splits : a name, the path of a YAML file, a mapping, or ``STORE``
    otherwise : for what ``splits`` leave out, and without them; None: the store's own
    origin : of ``otherwise``, for messages

    Raises
    ------
    UserError
        If they are not valid, or not for this store.
    """
    if isinstance(splits, str) and splits == STORE:
        return dataset
    if splits is not None:
        given, origin = load_splits(splits), place_of(splits)
        otherwise = given if otherwise is None else given.over(otherwise)
    if otherwise is None:
        return dataset
    return dataset.with_sets(divided(dataset.view, dataset.path, otherwise, origin))
