"""How a run begins: the one place in which what is asked for is resolved and becomes a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.splits_files import SplitsLike
from simtrain.common import distributed
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.agreement import resolve_on_all
from simtrain.data.collection import distinct_names, joined
from simtrain.data.dataset import Dataset, StoreLike, open_dataset, placed
from simtrain.data.mixture import must_be_weights
from simtrain.data.sets import with_splits
from simtrain.models.factory import must_have_parts
from simtrain.models.patch_table import resolve_patches
from simtrain.training.initial_weights import resolve_initial
from simtrain.training.run_folder import AnyRun, FitRun, PretrainRun

Asked = Config | PretrainConfig


def open_to_train(
    stores: Sequence[StoreLike], out: Path, splits: Sequence[SplitsLike | None], kind: type[AnyRun]
) -> Dataset:
    """Stores as a run of a kind in ``out`` is to see them: by the splits given, its own, or the stores'.

    Parameters
    ----------
    splits : none, one for all stores, or one for each

    Returns
    -------
    The store, or the collection of several (`simtrain.data.collection`).

    Raises
    ------
    UserError
        If there is no store, the splits are not valid or not for it, or several stores do not go together.
    """
    if len(splits) not in (0, 1, len(stores)):
        raise UserError(
            f"`splits`: {len(splits)} are given for {len(stores)} stores: give one for all, or one for each "
            "in their order, which may be `store`: its own"
        )
    each = splits if len(splits) == len(stores) else [*splits, None][:1] * len(stores)
    datasets = [open_dataset(store) for store in stores]
    if not (out / "config.yaml").exists():
        return joined([with_splits(one, own) for one, own in zip(datasets, each, strict=True)])
    run, several = kind.open(out), len(stores) > 1
    run.must_be_of(distinct_names(datasets) if several else [])
    known = range(len(stores)) if several else [None]
    return joined(
        [run.divided(one, own, number) for one, own, number in zip(datasets, each, known, strict=True)]
    )


def start_run(
    dataset: Dataset,
    config: Asked | Callable[[], Asked],
    out: str | Path,
    weights: Sequence[float] | None = None,
) -> AnyRun:
    """Begin a run of `training.loop.fit` or `training.pretraining.pretrain`, or open it to go on.

    What the configuration leaves open is filled in from the store; ``model.init`` and ``model.patches`` are
    read and replaced by the hashes of what they name, which the run folder keeps. Of several processes, the
    first one makes the folder and the others find it.

    Parameters
    ----------
    config : a `Config` for `fit`, a `PretrainConfig` for `pretrain`; or a function that gives it, if that
        reads the run folder and so must wait for the first process too
    out : the run folder: new, empty, or of a run of this configuration
    weights : of several stores; None: as many as their training samples, or those of the run that goes on

    Returns
    -------
    The run with its resolved configuration (``run.config``) and what has changed since (``run.notes``).

    Raises
    ------
    UserError
        If a store lacks what the configuration names or differs from another, its loss or patch embedding
        cannot be made, or ``out`` holds something else (`FitRun.start`).
    """
    return distributed.first_before_others(
        lambda: _start(dataset, config() if callable(config) else config, Path(out), weights)
    )


def _start(dataset: Dataset, config: Asked, out: Path, weights: Sequence[float] | None) -> AnyRun:
    must_have_parts(config)  # before there is a folder
    must_be_weights(weights, dataset)
    config = placed(config, dataset)
    if isinstance(config, PretrainConfig):
        with_table, table = resolve_patches(config, out)
        resolved = resolve_on_all(with_table, dataset)
        return PretrainRun.start(out, resolved, dataset, table=table, weights=weights)
    with_weights, initial = resolve_initial(config, out, dataset)
    with_both, table = resolve_patches(with_weights, out)
    return FitRun.start(out, resolve_on_all(with_both, dataset), dataset, initial, table, weights)
