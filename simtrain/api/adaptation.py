"""A trained run for a new subject."""

from __future__ import annotations

from os import PathLike

from simdata.common.local_path import local
from simtrain.adaptation import adapting
from simtrain.api.arguments import RunLike, open_run
from simtrain.api.runs import TrainedRun
from simtrain.common.device import torch_device
from simtrain.data.dataset import StoreLike, open_dataset


def adapt(
    run: RunLike,
    store: StoreLike,
    subject: str,
    out: str | PathLike[str],
    *,
    minutes: float | None = None,
    device: str = "auto",
) -> TrainedRun:
    """Adapt a trained run to a new subject, with minutes of their BOLD, as `simtrain adapt` does.

    The subject's BOLD is aligned with the mean of the training subjects', who saw the same film: the main
    components of each patch are rotated onto theirs (`simtrain.adaptation.procrustes`). The model stays as it
    is, and sees aligned BOLD. How much is rotated, or nothing, is what it does best with in parts of these
    minutes that are left out (`simtrain.adaptation.choice`).

    Parameters
    ----------
    run : str, PathLike[str] or object with a ``path``
        Folder of a run of `simtrain fit`, or an object whose ``path`` is one.
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, with the subject and the run's training subjects.
    subject : str
        Their id; not one of those trained on.
    out : str or PathLike[str]
        Folder of the adapted run: new or empty, or of the same adaptation, which then is not done again.
    minutes : float, optional
        Of the subject's BOLD, the first that answer training scenes; None: all that do.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.

    Returns
    -------
    TrainedRun
        Of the adapted run; its ``adaptation`` says what it was adapted with. `retrieve`, `predict`,
        `saliency` and `reconstruct` take it, for this subject alone; tests are of new scenes (experiment
        ``both``).

    Raises
    ------
    UserError
        If the run has no model, is adapted already or was trained on the subject, the store has not so many
        minutes of theirs, or ``out`` holds something else.

    Examples
    --------
    >>> adapted = simtrain.adapt(run, store, "s5", out, minutes=0.5, device="cpu")
    >>> print(adapted.adaptation)
    adapted to s5 with 0.5 minutes
    >>> found = simtrain.retrieve(adapted, store, pool=4, clips=10, draws=2, device="cpu")
    >>> found.metrics.experiment.unique().tolist()
    ['both']
    """
    trained = open_run(run)
    dataset = trained.divided(open_dataset(store))
    return TrainedRun(
        adapting.adapt(trained, dataset, subject, local(out, "out"), minutes, torch_device(device))
    )
