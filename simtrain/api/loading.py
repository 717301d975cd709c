"""Batches of windows with their stimulus features, for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from os import PathLike
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from simdata.common.errors import UserError
from simdata.release.splits_files import SplitsLike
from simdata.store import BoldReader
from simtrain.api.runs import ConfigLike, load_config
from simtrain.common.choices import must_be_one_of
from simtrain.common.device import torch_device
from simtrain.config.resolved import ResolvedConfig
from simtrain.data import windows
from simtrain.data.balance import Balance
from simtrain.data.dataset import Dataset, open_dataset, resolve
from simtrain.data.experiments import EXPERIMENTS, experiments_in
from simtrain.data.features import Stimuli
from simtrain.data.feeds import KINDS, Feed, open_feed
from simtrain.data.lag_jitter import training_samples
from simtrain.data.moments import find_moments
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.sets import with_splits
from simtrain.data.windows import Windows
from simtrain.models.context import ContextCourses
from simtrain.models.input import FramePatches

__all__ = ["SampleBatch", "SampleBatches", "batches", "open_dataset"]

SPLITS = ("train", "val", "test", *EXPERIMENTS)
HEMISPHERES = {"LR": "both", "both": "both", "L": "L", "R": "R"}


@dataclass(frozen=True)
class SampleBatch:
    """n samples: windows of one hemisphere with the clips that they answer. The tensors are yours to keep.

    Attributes
    ----------
    fmri : (n, patches, vertices of one * frames) float32 on the device: BOLD as ``data.normalise`` has it,
        by default z-scores of every frame over the cortex, 0 without data; in a patch, the frames of a vertex
        lie together
    stimuli : modality -> (n, features) float32 on the device, as ``data.features`` has them, by default
        standardised over the clips of training scenes
    subject, movie, hemisphere : (n,) int64, positions in the store; hemisphere 0 is L
    second : (n,) int64, s from the beginning of the run to the first frame
    clip : (n,) int64, s from the beginning of the film to the stimulus clip
    context : (n, seconds, patches of ``context.ico``) float32 on the device, the mean BOLD of each patch in
        the window and around it, 0 where it may not be seen; None if the configuration has no context
    seen : (n, seconds) bool on the device, whether it may; None as ``context``
    """

    fmri: Tensor
    stimuli: dict[str, Tensor]
    subject: np.ndarray
    movie: np.ndarray
    second: np.ndarray
    clip: np.ndarray
    hemisphere: np.ndarray
    context: Tensor | None = None
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.fmri)

    def __repr__(self) -> str:
        shapes = {"fmri": self.fmri, **self.stimuli}
        if self.context is not None:
            shapes["context"] = self.context
        return f"<SampleBatch {', '.join(f'{name} {tuple(of.shape)}' for name, of in shapes.items())}>"


class SampleBatches:
    """What `batches` returns. Every pass over it is a new one, from its beginning, in the same order.

    Attributes
    ----------
    config : resolved
    dataset : names of what the positions in a batch refer to: ``subjects``, ``movies``
    samples : (n,) `simtrain.data.windows.SAMPLE`, all of the split
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ResolvedConfig,
        split: str,
        feed: str,
        device: torch.device,
        epochs: int | None,
        shuffle: bool,
    ) -> None:
        self.dataset, self.config, self.split = dataset, config, split
        self._kind, self._device, self._epochs, self._shuffle = feed, device, epochs, shuffle
        found = Windows.of(dataset, config)
        self.samples = _of_split(found, split, config)
        self._size = config.train.batch_size
        if len(self.samples) < (self._size if shuffle else 1):
            raise UserError(
                f"{dataset.path} has {len(self.samples)} samples of split {split!r} at a lag of "
                f"{config.data.lag} s, less than a batch (batch_size: {self._size}): see `simdata info`"
            )
        stimuli = Stimuli(found.embeddings, raw=config.data.features == "raw")
        stimuli.fit(found.clips)
        self._stimuli = stimuli.to(device)
        self._frames = FramePatches.of(dataset, config).to(device)
        self._context = ContextCourses.of(dataset, config)
        self._feed: Feed | None = None

    def __len__(self) -> int:
        if self._epochs is None:
            raise TypeError("it is endless (epochs=None), and so has no length")
        whole, rest = divmod(len(self.samples), self._size)
        return self._epochs * (whole + (rest > 0 and not self._shuffle))

    def __iter__(self) -> Iterator[SampleBatch]:
        with self._open().batches(self._asked(), self._size) as found:
            for batch in found:
                yield self._made(batch.samples, batch.stored)

    def __repr__(self) -> str:
        names = ", ".join(self.config.modalities)
        return f"<SampleBatches of {self.split}: {len(self.samples)} samples by {self._size}, {names}>"

    def _open(self) -> Feed:
        """The feed, opened at the first pass: it may read all the runs."""
        if self._feed is None:
            reader, frames = BoldReader(self.dataset.path), self.config.data.frames
            quiet = Console(quiet=True)
            args = (self._kind, self.samples, self.dataset, reader, frames, self._device, 0, quiet)
            self._feed = open_feed(*args)
        return self._feed

    def _asked(self) -> Iterator[tuple[np.ndarray, Cursor]]:
        if self._shuffle:
            training, train = self.split == "train", self.config.train
            jitter = self.config.data.lag_jitter if training else 0
            balance = Balance.of(self.samples, self.dataset.segment, train.balance if training else "none")
            drawn = shuffled_batches(self.samples, self._size, train.seed, Cursor(), jitter, balance)
        else:
            drawn = self._in_order()
        return takewhile(lambda one: self._epochs is None or one[1].epoch < self._epochs, drawn)

    def _in_order(self) -> Iterator[tuple[np.ndarray, Cursor]]:
        epoch = 0
        while True:
            for start in range(0, len(self.samples), self._size):
                batch = self.samples[start : start + self._size]
                yield batch, Cursor(epoch, start // self._size + 1)
            epoch += 1

    def _made(self, samples: np.ndarray, stored: Tensor) -> SampleBatch:
        names = ("subject", "movie", "second", "clip", "hemisphere")
        index: dict[str, Any] = {name: samples[name].astype(np.int64) for name in names}
        movie, clip = (torch.from_numpy(index[name]).to(self._device) for name in ("movie", "clip"))
        if self._context is not None:
            index["context"], index["seen"] = self._context.of_samples(samples, self._device)
        return SampleBatch(self._frames.of_samples(samples, stored), self._stimuli(movie, clip), **index)


def batches(
    store: str | PathLike[str],
    split: str = "train",
    *,
    batch_size: int | None = None,
    frames: int | None = None,
    lag: int | None = None,
    modalities: str | Iterable[str] | None = None,
    hemispheres: str | None = None,
    ico: int | None = None,
    splits: SplitsLike | None = None,
    device: str = "cpu",
    feed: str = "auto",
    seed: int | None = None,
    epochs: int | None = 1,
    shuffle: bool = True,
    config: ConfigLike | None = None,
) -> SampleBatches:
    """Batches of windows of BOLD and the features of their clips, as training sees them, bit for bit.

    Parameters
    ----------
    store : str or PathLike[str]
        Path or URL of a store that simdata built.
    split : str
        ``train``; ``val``; ``test``, which is all of ``new-subjects``, ``new-scenes`` and what is new in
        both; or one of these by its name in `simtrain.data.experiments.EXPERIMENTS`.
    batch_size : int, optional
        Samples of a batch, 2 or more; None: the configuration's, 64.
    frames : int, optional
        Seconds of BOLD of a window, 1 to 100; None: the configuration's, 3.
    lag : int, optional
        Seconds from stimulus to BOLD; None: the configuration's, else the store's.
    modalities : str or iterable of str, optional
        What to align: fmri with video, audio, or embeddings by name; None: fmri, video and audio.
    hemispheres : {"LR", "L", "R"}, optional
        Every sample is of one of them; None: the configuration's, both.
    ico : int, optional
        Patches are the faces of this icosphere, 1 to 5; None: the configuration's, 3.
    splits : str, PathLike[str], dict or Splits, optional
        Sets of subjects and scenes, as for `simtrain.fit`; None: the store's own.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    feed : {"auto", "device", "memory", "stream"}
        Where BOLD lies; the batches are the same.
    seed : int, optional
        Of the order; None: the configuration's, 0.
    epochs : int or None
        Passes over the samples, each in an order of its own; None: endless.
    shuffle : bool
        False: in the store's order, with a smaller batch at the end of an epoch; True: as in training, where
        the few samples that fill no batch are left out, others in every epoch.
    config : str, PathLike[str], dict or Config, optional
        What else decides (such as ``data.lag_jitter``), as for `simtrain.fit`; of a run:
        ``load_run(path).config``.

    Returns
    -------
    SampleBatches
        An iterable of `SampleBatch`; every ``for`` loop over it begins anew. It reads when it is iterated.

    Raises
    ------
    UserError
        If a parameter is not valid, the store lacks an embedding, or the split has too few samples.

    Examples
    --------
    >>> found = simtrain.batches(store, "train", batch_size=16, ico=1)
    >>> found
    <SampleBatches of train: 376 samples by 16, fmri, video, audio>
    >>> batch = next(iter(found))
    >>> batch
    <SampleBatch fmri (16, 80, 1683), video (16, 10), audio (16, 7)>
    >>> batch.subject.shape, found.dataset.movies
    ((16,), ['M1', 'M2'])
    """
    must_be_one_of("split", split, SPLITS)
    must_be_one_of("feed", feed, KINDS)
    if hemispheres is not None:
        must_be_one_of("hemispheres", hemispheres, tuple(HEMISPHERES))
    if epochs is not None and epochs < 1:
        raise UserError(f"epochs: {epochs} is less than 1; None is endless")
    given = {
        "train.batch_size": batch_size,
        "train.seed": seed,
        "data.frames": frames,
        "data.lag": lag,
        "data.hemispheres": None if hemispheres is None else HEMISPHERES[hemispheres],
        "model.ico": ico,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    chosen = load_config({} if config is None else config, overrides=overrides, modalities=modalities)
    dataset, where = with_splits(open_dataset(store), splits), torch_device(device)
    return SampleBatches(dataset, resolve(chosen, dataset), split, feed, where, epochs, shuffle)


def _of_split(used: Windows, split: str, config: ResolvedConfig) -> np.ndarray:
    """(n,) SAMPLE of a split; that of training has room for the jitter of the lag."""
    if split == "train":
        return training_samples(windows.training(find_moments(used, config.data.moments)), config.data)
    if split == "val":
        chosen = windows.validation(find_moments(used, config.data.moments))
    else:
        found = used.find()
        tested = experiments_in("test")
        names = tested if split == "test" else [split]
        chosen = np.concatenate([windows.select(found, *tested[name]) for name in names])
    return windows.by_hemisphere(chosen, config.data.sides)
