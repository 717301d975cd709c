"""Training runs: begun, gone on with, and opened again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.release.splits import Splits
from simdata.release.splits_files import SplitsLike
from simtrain.common import interrupts, processes
from simtrain.common.choices import must_be_one_of
from simtrain.common.device import torch_device
from simtrain.config import composition
from simtrain.config.schema import AnyConfig, BaseConfig, Config, PretrainConfig
from simtrain.data.feeds import KINDS
from simtrain.models.factory import must_have_parts
from simtrain.training import loop, pretraining, scalars
from simtrain.training.run_folder import AnyRun, FitRun, PretrainRun
from simtrain.training.starting import open_to_train, start_run

Overrides = Mapping[str, Any] | Iterable[str]
ConfigLike = str | PathLike[str] | Mapping[str, Any] | BaseConfig
Stores = str | PathLike[str] | Sequence[str | PathLike[str]]
SplitsOfStores = SplitsLike | Sequence[SplitsLike | None] | None
Progress = bool | Callable[[int, int, dict[str, float]], object] | None


class TrainedRun:
    """A run folder, with its configuration and what was logged.

    Attributes
    ----------
    path : the folder
    config : resolved, with the lag and the encoders that the store had
    notes : what one should know of how it was made, such as what has changed since it was last worked on
    adaptation : to whom it was adapted, and how (`simtrain.training.adapted.Adaptation`); None if it was not
    """

    def __init__(self, run: AnyRun, notes: Sequence[str] | None = None) -> None:
        self.path, self.config, self.adaptation = run.path, run.config, run.adaptation
        self.notes = list(run.notes if notes is None else notes)

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each logged step, read from metrics.jsonl at every call.

        ``step`` counts updates from 1; the other columns are scalars, ``train/...``, ``feed/...`` and
        ``val/...`` as in TensorBoard, float64, NaN where a step has none or it was not finite.
        """
        steps: dict[int, dict[str, Any]] = {}
        for record in scalars.records(self.path):
            steps.setdefault(record["step"], {}).update(record)
        found = pd.DataFrame(list(steps.values()), columns=None if steps else ["step"])
        return found.astype({name: int if name == "step" else float for name in found})

    def __repr__(self) -> str:
        kind = "pretrain" if isinstance(self.config, PretrainConfig) else "fit"
        step = max((record["step"] for record in scalars.records(self.path)), default=0)
        adapted = "" if self.adaptation is None else f", {self.adaptation}"
        return (
            f"<{kind} run {self.path.name}: logged up to step {step} of {self.config.train.steps}{adapted}>"
        )


def fit(
    store: Stores,
    out: str | PathLike[str],
    config: ConfigLike | None = None,
    *,
    overrides: Overrides = (),
    modalities: str | Iterable[str] | None = None,
    splits: SplitsOfStores = None,
    weights: Iterable[float] | None = None,
    device: str = "auto",
    feed: str = "auto",
    progress: Progress = None,
) -> TrainedRun:
    """Train SIM on a store, or go on with an unfinished run, as `simtrain fit` does.

    It may be called in any thread, but by one at a time, since torch's seed is the process's.

    In the main thread, signals (Ctrl-C, a notebook's stop, SIGTERM, SIGUSR1) stop training behind the step in
    work, which is saved. The signal then has the effect that it would have had: Ctrl-C raises
    KeyboardInterrupt, SIGTERM ends the process, a handler of your own is called, and if it returns, so does
    `fit`, with the unfinished run. The same call goes on with it. In other threads Python sees no signals.

    Parameters
    ----------
    store : str, PathLike[str] or sequence of them
        Path or URL of a store that simdata built; or of several, on which one model is trained.
    out : str or PathLike[str]
        Run folder: new, empty, or of a run to go on with.
    config : str, PathLike[str], dict or Config, optional
        Name of a preset, path of a YAML file, mapping of the same form, or a `Config`; None: that of the run
        in ``out``, or sim-tiny.
    overrides : dict or iterable of str
        ``{"train.steps": 100}``, or texts such as ``"train.steps=100"``, on top of ``config``.
    modalities : str or iterable of str, optional
        What to align: fmri with video, audio, or embeddings by name, as a sequence or with commas; None: as
        ``config`` says.
    splits : str, PathLike[str], dict or Splits, or list of them, optional
        Which subjects and scenes train, validate and test: a name (`simdata splits list`), the path of a YAML
        file, or a mapping of the same form; a part that it leaves out is the store's own, and so are both
        without it. The run keeps them, for going on and for tests. Of several stores, one for all of them, or
        a list with one for each, None or ``store`` for a store's own.
    weights : iterable of float, optional
        How often batches are of each of several stores; None: in proportion to their training samples.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    feed : {"auto", "device", "memory", "stream"}
        Where BOLD lies while training; results are equal.
    progress : bool or callable, optional
        None or True: a bar in the terminal or notebook; False: nothing is printed; or a function that is
        called with the step, the number of steps, and the step's scalars whenever they are logged (what it
        raises ends training, and the last checkpoint stays).

    Returns
    -------
    TrainedRun
        Its ``metrics`` are a table, its ``path`` is what the functions that test a model take.

    Raises
    ------
    UserError
        If the configuration is not valid or does not fit the store, ``out`` holds something else, or training
        diverges.
    KeyboardInterrupt
        At Ctrl-C, behind the step that was saved.

    Examples
    --------
    >>> small = {"train.steps": 4, "train.batch_size": 8, "train.log_every": 2, "train.validation_samples": 8}
    >>> run = simtrain.fit(store, out, "demo", overrides=small, device="cpu", progress=False)
    >>> run
    <fit run example: logged up to step 4 of 4>
    >>> run.metrics.step.tolist()
    [2, 4]
    >>> "val/top1-video" in run.metrics
    True
    """
    kind = Config
    by = _by_store(splits)
    return _train(
        loop.fit, kind, store, out, config, overrides, modalities, by, weights, device, feed, progress
    )


def pretrain(
    store: Stores,
    out: str | PathLike[str],
    config: ConfigLike | None = None,
    *,
    overrides: Overrides = (),
    splits: SplitsOfStores = None,
    weights: Iterable[float] | None = None,
    device: str = "auto",
    feed: str = "auto",
    progress: Progress = None,
) -> TrainedRun:
    """Train the surface encoder alone to fill in hidden patches of BOLD, as `simtrain pretrain` does.

    Parameters
    ----------
    store : str, PathLike[str] or sequence of them
        Path or URL of a store that simdata built; or of several, on which one model is trained.
    out : str or PathLike[str]
        Run folder: new, empty, or of a run to go on with.
    config : str, PathLike[str], dict or Config, optional
        Name of a preset of pretraining, path of a YAML file, mapping, or `PretrainConfig`; None: that of the
        run in ``out``, or sim-tiny.
    overrides : dict or iterable of str
        ``{"mae.ratio": 0.5}``, or texts such as ``"mae.ratio=0.5"``.
    splits, weights, device, feed, progress
        As for `fit`.

    Returns
    -------
    TrainedRun
        `fit` starts from its encoder with the override ``{"model.init": run.path}``.

    Raises
    ------
    UserError, KeyboardInterrupt
        As `fit`.

    Examples
    --------
    >>> small = {"model.ico": 1, "model.dim": 8, "model.depth": 1, "train.steps": 2, "train.batch_size": 8,
    ...     "train.validation_samples": 8}
    >>> run = simtrain.pretrain(store, out, overrides=small, device="cpu", progress=False)
    >>> run
    <pretrain run example: logged up to step 2 of 2>
    """
    kind, train = PretrainConfig, pretraining.pretrain
    by = _by_store(splits)
    return _train(train, kind, store, out, config, overrides, None, by, weights, device, feed, progress)


def load_run(path: str | PathLike[str]) -> TrainedRun:
    """Open a run folder, of `fit` or of `pretrain`.

    Parameters
    ----------
    path : str or PathLike[str]
        The folder.

    Returns
    -------
    TrainedRun

    Raises
    ------
    UserError
        If it is no run folder, or its configuration is damaged.

    Examples
    --------
    >>> run = simtrain.load_run(trained.path)
    >>> run.config.train.batch_size
    32
    >>> run.metrics["train/loss"].dtype
    dtype('float64')
    """
    file = Path(path) / "config.yaml"
    data = composition.read_yaml(file.read_text(), str(file)) if file.is_file() else {}
    pretrained = isinstance(data, dict) and "mae" in data
    return TrainedRun((PretrainRun if pretrained else FitRun).open(path))


def load_config(
    config: ConfigLike = composition.DEFAULT_PRESET,
    *,
    overrides: Overrides = (),
    modalities: str | Iterable[str] | None = None,
) -> Config:
    """A configuration of `fit`: checked, but not resolved, since that takes a store.

    Parameters
    ----------
    config, overrides, modalities
        As for `fit`.

    Returns
    -------
    Config
        Frozen; ``to_yaml()`` is what a file holds.

    Raises
    ------
    UserError
        If there is no such preset or file, or a key or value is not valid: all faults are listed; or if the
        loss or patch embedding cannot be made.

    Examples
    --------
    >>> longer = {"train.steps": 100}
    >>> config = simtrain.load_config("sim-tiny", overrides=longer, modalities=["fmri", "video"])
    >>> config.train.steps, config.data.frames, config.modalities
    (100, 3, ('fmri', 'video'))
    """
    found = composed(config, overrides, modalities, Config)
    must_have_parts(found)
    return found


def asked_for(
    out: Path,
    config: ConfigLike | None,
    overrides: Overrides,
    modalities: str | Iterable[str] | None,
    kind: type[AnyConfig],
) -> AnyConfig:
    """What is asked for: changes of an existing run's own configuration, unless another is named."""
    file = out / "config.yaml"
    if file.exists() and config is None and modalities is None:
        own = run_kind(kind).open(out).config.model_dump(mode="json")
        return composition.overridden(own, str(file), override_texts(overrides), None, kind)
    return composed(config or composition.DEFAULT_PRESET, overrides, modalities, kind)


def composed(
    config: ConfigLike, overrides: Overrides, modalities: str | Iterable[str] | None, kind: type[AnyConfig]
) -> AnyConfig:
    """A configuration of a kind from any form of it, with overrides on top."""
    names = modalities if modalities is None or isinstance(modalities, str) else ",".join(modalities)
    if isinstance(config, BaseConfig) and not isinstance(config, kind):
        raise UserError(f"config: a {type(config).__name__} is given, and a {kind.__name__} is needed")
    if isinstance(config, BaseConfig):
        config = config.model_dump(mode="json")
    if isinstance(config, Mapping):
        return composition.overridden(dict(config), "config", override_texts(overrides), names, kind)
    return composition.load(str(config), override_texts(overrides), names, kind=kind)


def run_kind(kind: type[BaseConfig]) -> type[AnyRun]:
    """What a run of a kind of configuration is."""
    return PretrainRun if kind is PretrainConfig else FitRun


def override_texts(overrides: Overrides) -> list[str]:
    """Overrides as the command line has them; JSON is YAML."""
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r} is one text: give a mapping, or a list of texts")
    if isinstance(overrides, Mapping):
        return [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]
    return list(overrides)


def _train(
    train: Callable[..., int | None],
    kind: type[AnyConfig],
    store: Stores,
    out: str | PathLike[str],
    config: ConfigLike | None,
    overrides: Overrides,
    modalities: str | Iterable[str] | None,
    splits: Sequence[SplitsLike | None],
    weights: Iterable[float] | None,
    device: str,
    feed: str,
    progress: Progress,
) -> TrainedRun:
    folder = local(out, "out")
    stores = [store] if isinstance(store, str | PathLike) else list(store)
    shares = None if weights is None else [float(weight) for weight in weights]
    must_be_one_of("feed", feed, KINDS)
    where = torch_device(device)
    console = Console(quiet=progress is False or callable(progress) or processes.rank() != 0)
    number, notes = None, list[str]()
    with interrupts.caught():
        try:
            dataset = open_to_train(stores, folder, splits, run_kind(kind))
            wanted = partial(asked_for, folder, config, overrides, modalities, kind)
            run = start_run(dataset, wanted, folder, shares)
            notes += run.notes
            for note in notes:
                console.print(note)
            number = train(dataset, run, where, console, feed, _report(progress, run))
        except interrupts.Stopped as stopped:
            number = stopped.number
    if number is not None:
        signal.raise_signal(number)  # to whoever it was meant for: Python raises KeyboardInterrupt at Ctrl-C
    return TrainedRun(run_kind(kind).open(folder), notes)


def _by_store(splits: SplitsOfStores) -> Sequence[SplitsLike | None]:
    """None, one for all stores, or one for each."""
    if splits is None:
        return []
    return [splits] if isinstance(splits, str | PathLike | Mapping | Splits) else list(splits)


def _report(progress: Progress, run: AnyRun) -> scalars.Report | None:
    if not callable(progress):
        return None
    return lambda step, values: progress(step, run.config.train.steps, values)
