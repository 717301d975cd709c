"""What a trained model makes of a store: embeddings of its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

import xarray as xr

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.release.splits_files import SplitsLike
from simtrain import prediction
from simtrain.api.arguments import RunLike, open_run
from simtrain.common.device import torch_device
from simtrain.data.dataset import StoreLike, open_dataset
from simtrain.data.own_clock import OwnClock
from simtrain.training.checkpoint import CHECKPOINTS


def predict(
    run: RunLike,
    store: StoreLike,
    out: str | PathLike[str],
    *,
    subjects: Sequence[str] | None = None,
    by_hemisphere: bool = False,
    tr: float | None = None,
    onset: float = 0.0,
    splits: SplitsLike | None = None,
    checkpoint: str = CHECKPOINTS[0],
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> xr.Dataset:
    """Write a model's embeddings of every usable window of a store, and open them.

    Parameters
    ----------
    run : str, PathLike[str] or object with a ``path``
        Folder of a run of `simtrain fit`, or an object whose ``path`` is one.
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    out : str or PathLike[str]
        Zarr store to write; it appears whole or not at all.
    subjects : sequence of str, optional
        Their ids; None: all of the store.
    by_hemisphere : bool
        Also the embedding of each hemisphere, ``fmri_by_hemisphere``.
    tr : float, optional
        Volumes of a scan with this TR (s) take the place of seconds, so that what is embedded lies beside a
        data set on its own clock: ``volume`` in place of ``second``, each from the seconds around it.
    onset : float
        Time of that scan at which the film began, s. Of no use without ``tr``.
    splits : str, PathLike[str], dict or Splits, optional
        Sets that windows lie in, and that the labels say, in place of those of the run's training, as for
        `simtrain.fit`.
    checkpoint : {"best", "last"}
        Test the weights that were best by validation, if the run kept any, or the last.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    progress : callable, optional
        Called with a subject, its number and the number of subjects.

    Returns
    -------
    xarray.Dataset
        Read as it is used. ``fmri`` (subject, movie, second, embedding) float32 of unit length belongs to
        the clip that begins at that second, ``video`` and ``audio`` (movie, second, embedding) too; NaN where
        no window is usable.

    Raises
    ------
    UserError
        If ``out`` exists, a subject is unknown, the run does not fit the store, or embeddings are not finite
        or all the same.

    Examples
    --------
    >>> embedded = simtrain.predict(run, store, out, subjects=["s5", "s6"], device="cpu")
    >>> embedded.fmri.dims
    ('subject', 'movie', 'second', 'embedding')
    >>> embedded.subject.values.tolist()
    ['s5', 's6']
    """
    place, trained = local(out, "out"), open_run(run, checkpoint)
    prediction.predict(
        trained,
        trained.divided(open_dataset(store), splits),
        place,
        torch_device(device),
        subjects=tuple(subjects or ()),
        by_hemisphere=by_hemisphere,
        clock=own_clock(tr, onset),
        **({} if progress is None else {"progress": progress}),
    )
    written: xr.Dataset = xr.open_zarr(place)
    return written


def own_clock(tr: float | None, onset: float) -> OwnClock | None:
    """The clock that ``tr`` and ``onset`` ask for; a UserError if ``onset`` has no ``tr``."""
    if tr is not None:
        return OwnClock(tr, onset)
    if onset:
        raise UserError("`onset`: is a time of a scan whose volumes are asked for by `tr`; give that too")
    return None
