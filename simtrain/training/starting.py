"""How a run begins: the one place in which what is asked for is resolved and becomes a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simdata.release.splits_files import SplitsLike
from simtrain.common import distributed
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import Dataset, StoreLike, open_dataset, placed, resolve
from simtrain.data.sets import with_splits
from simtrain.models.factory import must_have_parts
from simtrain.models.patch_table import resolve_patches
from simtrain.training.initial_weights import resolve_initial
from simtrain.training.run_folder import AnyRun, FitRun, PretrainRun

Asked = Config | PretrainConfig


def open_to_train(store: StoreLike, out: Path, splits: SplitsLike | None, kind: type[AnyRun]) -> Dataset:
    """A store as a run of a kind in ``out`` is to see it: by the splits given, by its own, or by the store's.

    Raises
    ------
    UserError
        If there is no store, or the splits are not valid or not for it.
    """
    dataset = open_dataset(store)
    if (out / "config.yaml").exists():
        return kind.open(out).divided(dataset, splits)
    return with_splits(dataset, splits)


def start_run(dataset: Dataset, config: Asked | Callable[[], Asked], out: str | Path) -> AnyRun:
    """Begin a run of `training.loop.fit` or `training.pretraining.pretrain`, or open it to go on.

    What the configuration leaves open is filled in from the store; ``model.init`` and ``model.patches`` are
    read and replaced by the hashes of what they name, which the run folder keeps. Of several processes, the
    first one makes the folder and the others find it.

    Parameters
    ----------
    config : a `Config` for `fit`, a `PretrainConfig` for `pretrain`; or a function that gives it, if that
        reads the run folder and so must wait for the first process too
    out : the run folder: new, empty, or of a run of this configuration

    Returns
    -------
    The run with its resolved configuration (``run.config``) and what has changed since (``run.notes``).

    Raises
    ------
    UserError
        If the store lacks what the configuration names, its loss or patch embedding cannot be made, or
        ``out`` holds something else (`FitRun.start`).
    """
    return distributed.first_before_others(
        lambda: _start(dataset, config() if callable(config) else config, Path(out))
    )


def _start(dataset: Dataset, config: Asked, out: Path) -> AnyRun:
    must_have_parts(config)  # before there is a folder
    config = placed(config, dataset)
    if isinstance(config, PretrainConfig):
        with_table, table = resolve_patches(config, out)
        return PretrainRun.start(out, resolve(with_table, dataset), dataset, table=table)
    with_weights, initial = resolve_initial(config, out, dataset)
    with_both, table = resolve_patches(with_weights, out)
    return FitRun.start(out, resolve(with_both, dataset), dataset, initial, table)
