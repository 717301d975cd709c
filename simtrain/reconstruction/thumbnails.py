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


def must_suit_scores(frames: np.ndarray, dataset: Dataset) -> None:
    """Raise a UserError if pictures (n, y, x, 3) are too small for SSIM."""
    y, x = frames.shape[1:3]
    if min(y, x) < image_scores.WINDOW:
        raise UserError(
            f"{dataset.path} has thumbnails of {x} x {y} pixels: SSIM needs "
            f"{image_scores.WINDOW} x {image_scores.WINDOW} or more"
        )


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
