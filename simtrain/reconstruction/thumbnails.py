"""Pictures of the film: the store's thumbnails with the features of the clips that they are from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset
from simtrain.reconstruction import image_scores

PIXEL_SCORES = {
    "ssim": image_scores.ssim,
    "psnr": image_scores.psnr,
    "correlation": image_scores.correlation,
}


@dataclass(frozen=True)
class Thumbnails:
    """True or reconstructed pictures.

    Attributes
    ----------
    frames : (n, y, x, 3) RGB from 0 to 255, uint8 or float32
    features : (n, features) float32 of the same pictures, by the name of the store's variable
    """

    frames: np.ndarray
    features: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, rows: np.ndarray | slice) -> Thumbnails:
        return Thumbnails(self.frames[rows], {name: values[rows] for name, values in self.features.items()})

    def mixed(self, index: np.ndarray, weight: np.ndarray) -> Thumbnails:
        """(m,) weighted means of pictures, and of their features.

        Parameters
        ----------
        index : (m, k) int, which pictures
        weight : (m, k) float32, with rows that sum to 1
        """
        features = {name: _mixed(values, index, weight) for name, values in self.features.items()}
        return Thumbnails(_mixed(self.frames, index, weight), features)


def compare(made: Thumbnails, true: Thumbnails, device: torch.device) -> dict[str, np.ndarray]:
    """(n, m) float32 by the name of the score: how alike each picture made is to each true one.

    ``PIXEL_SCORES``, and the cosine similarity of all features that ``made`` has.
    """
    one, other = (_to(device, pictures.frames) / 255 for pictures in (made, true))
    scores = {name: score(one, other) for name, score in PIXEL_SCORES.items()}
    for name, features in made.features.items():
        scores[name] = image_scores.cosine(_to(device, features), _to(device, true.features[name]))
    return {name: score.cpu().numpy() for name, score in scores.items()}


def read_frames(dataset: Dataset, movie: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, y, x, 3) uint8: the store's thumbnails of these seconds.

    Raises
    ------
    UserError
        If the store has none, or they are too small for SSIM.
    """
    store = dataset.view
    if "frame" not in store:
        raise UserError(f"{dataset.path} has no thumbnails (frame): build it anew with `simdata build`")
    size = store.frame.shape[2:4]
    if min(size) < image_scores.WINDOW:
        raise UserError(
            f"{dataset.path} has thumbnails of {size[1]} x {size[0]} pixels: SSIM needs "
            f"{image_scores.WINDOW} x {image_scores.WINDOW} or more"
        )
    frames = np.empty((len(movie), *size, 3), np.uint8)
    for one in np.unique(movie):
        rows = movie == one
        frames[rows] = store.frame.isel(movie=int(one)).values[second[rows]]
    return frames


def describe_frames(dataset: Dataset) -> str:
    """What the store says that its thumbnails show."""
    return dataset.view.frame.attrs.get("long_name", "")


def rounded(frames: np.ndarray) -> np.ndarray:
    """Pictures as uint8, to be shown."""
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _mixed(values: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = np.zeros((len(index), *values.shape[1:]), np.float32)
    for which, share in zip(index.T, weight.T, strict=True):
        total += share.reshape(-1, *[1] * (values.ndim - 1)) * values[which]
    return total


def _to(device: torch.device, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device).float()
