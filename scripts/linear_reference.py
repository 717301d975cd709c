"""The error of a pretrained model over hidden patches, beside that of 0 and of a linear prediction.

The reference is the conditional mean of what is hidden given what is visible, in a Gaussian model of the
training windows: main components and a noise of equal variance everywhere (Tipping & Bishop 1999). Tubes
alone: a vertex is hidden in all frames of a window, or in none.

    python scripts/linear_reference.py RUN STORE
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simdata.store import BoldReader
from simtrain.config.resolved import ResolvedPretrainConfig
from simtrain.data.dataset import Dataset, open_dataset
from simtrain.data.feeds import Stream
from simtrain.data.windows import Windows
from simtrain.models.input import FramePatches
from simtrain.models.mae import masked_error
from simtrain.models.main_axes import Axes, main_axes
from simtrain.training.preparation import decoded, draw, find_samples
from simtrain.training.pretraining import VALIDATION
from simtrain.training.pretraining_maps import load_learner
from simtrain.training.run_folder import PretrainRun

COMPONENTS = 128
TRAINED_ON, TESTED_ON = 4096, 256  # windows
BATCH = 32


def whole_hemispheres(dataset: Dataset, config: ResolvedPretrainConfig) -> FramePatches:
    """All vertices of a hemisphere as one patch."""
    return FramePatches.of(dataset, config, np.arange(dataset.cortex.shape[1])[None])


class Gaussian:
    """A Gaussian of (vertices * frames) values: main components, and independent noise of one variance."""

    def __init__(self, axes: Axes, dimensions: int) -> None:
        self.mean, variance = axes.mean[0], axes.variance[0]
        self.noise = float((axes.total[0] - variance.sum()) / (dimensions - len(variance)))
        self.loadings = axes.axes[0].T * (variance - self.noise).clamp(min=0).sqrt()  # (d, k)

    def conditional_mean(self, values: Tensor, visible: Tensor) -> Tensor:
        """(d,) of one window, given its values where ``visible``, (d,) bool."""
        seen = self.loadings[visible]
        precision = seen.T @ seen + self.noise * torch.eye(seen.shape[1])
        factors = torch.linalg.solve(precision, seen.T @ (values - self.mean)[visible])
        return self.mean + self.loadings @ factors


@torch.no_grad()
def errors(run: PretrainRun, dataset: Dataset) -> dict[str, float]:
    """Mean squared errors over held-out windows, of values that no visible patch shows."""
    config, device = run.config, torch.device("cpu")
    learner, frames = load_learner(run, dataset, device), whole_hemispheres(dataset, config)
    training, held_out = find_samples(Windows.of(dataset, config), config)
    fitted_on = draw(training, TRAINED_ON, config.train.seed)
    axes = main_axes(decoded(dataset, fitted_on, frames, config.data.frames, device), COMPONENTS)
    model = Gaussian(axes, int(dataset.cortex[0].sum()) * config.data.frames)
    tested = draw(held_out, TESTED_ON, config.train.seed)
    parts = ((tested[start : start + BATCH], None) for start in range(0, len(tested), BATCH))
    found: dict[str, list[float]] = {"model": [], "zero": [], "linear": []}
    with Stream(BoldReader(dataset.path), config.data.frames, device).batches(parts, BATCH) as batches:
        for batch in batches:
            mask = learner.mask(batch.samples, config.train.seed, VALIDATION)
            filled = learner.fill(batch.samples, batch.stored, mask)
            unseen = learner.unseen(filled)
            shown = learner.per_vertex(~filled.hidden)
            visible = learner.on_surface(shown, shown)[1] > 0  # (batch, vertices, frames)
            whole = frames.of_samples(batch.samples, batch.stored)[:, 0]
            pairs = zip(whole, visible.flatten(1), strict=True)
            told = torch.stack([model.conditional_mean(*pair) for pair in pairs])
            told = told.view(len(told), -1, config.data.frames)[:, learner.frames.vertices]
            predictions = {
                "model": filled.predicted,
                "zero": torch.zeros_like(filled.target),
                "linear": told.reshape(filled.target.shape),
            }
            for name, predicted in predictions.items():
                found[name].append(float(masked_error(predicted, filled.target, unseen)))
    return {name: float(np.mean(of_batches)) for name, of_batches in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    print(json.dumps(errors(PretrainRun.open(options.run), open_dataset(options.store)), indent=2))


if __name__ == "__main__":
    main()
