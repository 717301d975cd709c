"""The penalty of an alignment: that with which the frozen model does best in windows that were left out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.adaptation.material import Material
from simtrain.adaptation.procrustes import rotations
from simtrain.models.alignment import Alignment, Components
from simtrain.models.embeddings import embed_fmri
from simtrain.models.learner import Learner

PENALTIES = (0.3, 1.0, 3.0, None)  # None: BOLD stays as it is
FOLDS = 3  # stretches of time
FEWEST = 8  # windows


def choose_penalty(
    learner: Learner, material: Material, components: Components, own: Tensor, others: Tensor
) -> dict[float | None, float]:
    """The loss of each of ``PENALTIES`` in windows that share no BOLD with those its alignment was fitted on.

    It is the cross-entropy of a window's own clip among all clips of its fold that it shares no moment with,
    at the temperature of the model, over all modalities.

    Parameters
    ----------
    own, others : (windows, hemispheres, patches, k), as `Material.scores` gives

    Raises
    ------
    UserError
        If there are too few windows.
    """
    windows = material.windows
    if len(windows) < FOLDS * FEWEST:
        raise UserError(
            f"`minutes`: {material.seconds} s hold {len(windows)} windows, too few to choose an alignment by:"
            f" it takes {FOLDS * FEWEST}"
        )
    fold = np.arange(len(windows)) * FOLDS // len(windows)
    losses: dict[float | None, float] = dict.fromkeys(PENALTIES, 0.0)
    for one in range(FOLDS):
        held_out = windows[fold == one]
        fitted = torch.from_numpy(apart(windows, held_out, material.run.config.data.frames)).to(own.device)
        for penalty in PENALTIES:
            learner.alignment = None
            if penalty is not None:
                turned = rotations(own[fitted], others[fitted], penalty)
                learner.alignment = Alignment(components, turned, learner.sides, material.subject)
            losses[penalty] += _loss(learner, material, held_out) * len(held_out)
    return {penalty: total / len(windows) for penalty, total in losses.items()}


def apart(windows: np.ndarray, held_out: np.ndarray, frames: int) -> np.ndarray:
    """(n,) bool: the windows that share no second of BOLD with those held out."""
    near = (windows["movie"][:, None] == held_out["movie"]) & (
        abs(windows["second"][:, None] - held_out["second"]) < frames
    )
    return ~near.any(axis=1)


@torch.no_grad()
def _loss(learner: Learner, material: Material, windows: np.ndarray) -> float:
    reader, device = BoldReader(material.dataset.path), learner.device
    fmri = torch.from_numpy(embed_fmri(learner, reader, windows, material.run.config.data.frames)).to(device)
    overlapping = learner.ignored(windows).fill_diagonal_(False)
    itself = torch.arange(len(windows), device=device)
    of_modalities = []
    for clips in learner.embed_clips(windows["movie"], windows["clip"]).values():
        alike = (fmri @ clips.float().T / learner.loss.temperature).masked_fill(overlapping, -math.inf)
        of_modalities.append(cross_entropy(alike, itself))
    return float(torch.stack(of_modalities).mean())
