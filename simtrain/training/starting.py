"""From what is asked for to a run: the one place in which a configuration is resolved and its run begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simtrain.common import distributed
from simtrain.config.schema import Config, PretrainConfig, Recipe
from simtrain.data import dataset as datasets
from simtrain.data.dataset import Dataset
from simtrain.models.patch_table import resolve_patches
from simtrain.training import pretraining
from simtrain.training.initial_weights import resolve_initial
from simtrain.training.run_folder import Run


def start_run(dataset: Dataset, config: Recipe | Callable[[], Recipe], out: str | Path) -> Run:
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
        If the store lacks what the configuration names, or ``out`` holds something else (`Run.start`).
    """
    return distributed.first_before_others(
        lambda: _start(dataset, config() if callable(config) else config, Path(out))
    )


def _start(dataset: Dataset, config: Recipe, out: Path) -> Run:
    initial = None
    if isinstance(config, Config):
        config, initial = resolve_initial(config, out)
    config, table = resolve_patches(config, out)
    return Run.start(out, resolved(config, dataset), dataset, initial, table)


def resolved(config: Recipe, dataset: Dataset) -> Recipe:
    """The configuration with the lag, and for `fit` the encoders, filled in from the store."""
    if isinstance(config, PretrainConfig):
        return pretraining.resolve(config, dataset)
    assert isinstance(config, Config)
    return datasets.resolve(config, dataset)
