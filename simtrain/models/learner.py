"""All that holds weights or statistics of a run, put together from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from simtrain.config.resolved import ResolvedConfig
from simtrain.data.collection import store_of_movies
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.features import Stimuli
from simtrain.data.windows import separation
from simtrain.models.alignment import Alignment
from simtrain.models.context import Context, ContextCourses
from simtrain.models.draws import SampleDraws
from simtrain.models.factory import context_transformer, freeze, surface_encoder
from simtrain.models.input import FramePatches
from simtrain.models.left_out import LeftOut
from simtrain.models.losses import configured, false_negatives
from simtrain.models.queue import Queue
from simtrain.models.sim import SIM, PerTokenSIM
from simtrain.models.sit import SiT


class Learner(nn.Module):
    """What is trained: from samples to embeddings to the loss.

    Its state_dict is what a checkpoint keeps: the weights, the temperature, the statistics with which the
    stimulus features are standardised, and the queue of negatives, if the configuration asks for one.

    Parameters
    ----------
    embeddings : the store's features of each stimulus modality

    Attributes
    ----------
    film : (movies,) int, as `simtrain.data.dataset.Dataset` has it
    window : s between the beginnings of windows of one film that are negatives of each other, at least
    alignment : of the subject that a trained model is adapted to; not part of the state_dict
    """

    def __init__(self, config: ResolvedConfig, dataset: Dataset, embeddings: dict[str, Embedding]) -> None:
        super().__init__()
        self.sides, self.side_names = config.data.sides, config.data.side_names
        self.window = separation(dataset, config.data.frames, embeddings.values())
        self.film = dataset.film
        self.frames = FramePatches.of(dataset, config)
        self._modalities = tuple(embeddings)
        store = store_of_movies(dataset)
        self.stimuli = Stimuli(embeddings, raw=config.data.features == "raw", store=store)
        encoder = surface_encoder(config.model, self.frames.shape, config.data.frames)
        freeze(encoder, config.model.freeze)
        features = {"fmri": config.model.dim}
        features |= {modality: embedding.values.shape[-1] for modality, embedding in embeddings.items()}
        projector = config.projector
        per_token = projector.average == "after" and config.model.pool == "mean"
        kind = PerTokenSIM if per_token else SIM
        self.sim: SIM = kind(encoder, features, projector.dim, projector.dropout)
        self.left_out, self.depth = LeftOut.of(config), config.model.depth
        self.context = ContextCourses.of(dataset, config)
        if self.context is not None:  # behind all else, which so draws the same weights as without it
            self.sim.temporal = context_transformer(config, self.context.patches)
        self.loss = configured(config)
        self.overlaps_are_negatives = config.loss.overlaps == "negatives"
        size = config.loss.queue
        self.queue = Queue(size, features, projector.dim, self.window, dataset.film, store) if size else None
        self.alignment: Alignment | None = None

    @property
    def encoder(self) -> SiT:
        """The surface transformer."""
        assert isinstance(self.sim.encoder, SiT)  # as in all but PCA's learner
        return self.sim.encoder

    @property
    def fitted(self) -> bool:
        """Whether `fit` needs training windows."""
        return self.encoder.embed.fitted

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Let what is fitted look at training windows, as `SiT.fit`."""
        self.encoder.fit(blocks)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of the stimulus."""
        return self._modalities

    @property
    def device(self) -> torch.device:
        return self.loss.log_scale.device

    def embed(
        self, samples: np.ndarray, stored: Tensor, draws: SampleDraws | None = None
    ) -> dict[str, Tensor]:
        """(n, dim) unit-length embeddings of every modality of ``samples`` (SAMPLE) and their stored BOLD.

        Parameters
        ----------
        draws : of a step of training, which leaves out some by chance
        """
        features, paths = self.clip_features(samples["movie"], samples["clip"]), None
        if draws is not None:
            features = self.left_out.thinned(features, samples, draws)
            paths = self.left_out.paths(samples, draws, self.depth, self.device)
        fmri = self.sim.embed_fmri(self.patches(samples, stored), self._around(samples), paths)
        return {"fmri": fmri} | self.sim.embed_stimuli(features)

    def compared(self, samples: np.ndarray, draws: SampleDraws) -> dict[str, Tensor] | None:
        """(n,) bool of every stimulus modality: which samples a step compares by it; None: all."""
        return self.left_out.compared(samples, draws, self.modalities, self.device)

    def embed_fmri(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """(n, dim) from (n, frames, vertices) as stored, and what is around them, if the model sees it."""
        return self.sim.embed_fmri(self.patches(samples, stored), self._around(samples))

    def patches(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """(n, patches, vertices of one * frames) float32: what the encoder sees of BOLD as stored."""
        patches = self.frames.of_samples(samples, stored)
        return patches if self.alignment is None else self.alignment(samples, patches)

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, Tensor]:
        """(n, dim) of every stimulus modality for clips that begin at second ``clip`` of ``movie``."""
        return self.sim.embed_stimuli(self.clip_features(movie, clip))

    def clip_features(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, Tensor]:
        """(n, features) of every stimulus modality of the same clips, as ``data.features`` has them."""
        return self.stimuli(self._index(movie), self._index(clip))

    def ignored(self, samples: np.ndarray) -> Tensor:
        """(n, n) bool on the device: pairs that overlap in time, and so are not negatives, unless all are."""
        if self.overlaps_are_negatives:
            return torch.zeros(len(samples), len(samples), dtype=torch.bool, device=self.device)
        # With a jittered lag, samples of one clip may lie further apart in BOLD than in the film.
        film = self.film[samples["movie"]]  # seen again, it is the same
        mask = false_negatives(film, samples["second"], self.window)
        mask |= false_negatives(film, samples["clip"], self.window)
        return torch.from_numpy(mask).to(self.device, non_blocking=True)

    def _around(self, samples: np.ndarray) -> Context | None:
        return None if self.context is None else self.context.of_samples(samples, self.device)

    def _index(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self.device, non_blocking=True)
