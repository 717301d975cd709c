"""Which runs of BOLD a training cannot take as finite values: asked when something went wrong."""

from __future__ import annotations

import numpy as np
import torch

from simtrain.common import distributed
from simtrain.data.collection import open_reader
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Stream
from simtrain.training.step import AnyLearner

LOOKED_AT = 64  # samples, at once


def broken_bold(learner: AnyLearner, samples: np.ndarray, dataset: Dataset, length: int) -> str | None:
    """What to say of the runs of samples (SAMPLE), of all processes, that are not finite; None if all are.

    Parameters
    ----------
    length : s, of a window
    """
    found, frames, device = [], learner.frames, learner.device
    parts = ((samples[start : start + LOOKED_AT], None) for start in range(0, len(samples), LOOKED_AT))
    with Stream(open_reader(dataset), length, device).batches(parts, LOOKED_AT) as batches:
        for batch in batches:
            side = torch.from_numpy(batch.samples["hemisphere"].astype(np.int64)).to(device)
            finite_ones = frames(batch.stored, side).flatten(1).isfinite().all(dim=1).cpu().numpy()
            found += batch.samples[~finite_ones][["subject", "movie"]].tolist()
    runs = [
        f"{dataset.subjects[subject]} in {dataset.movies[movie]}"
        for subject, movie in sorted(set(distributed.gather_objects(found)))
    ]
    return f"the BOLD of {' and '.join(runs)} is not finite: build {dataset.path} again" if runs else None
