"""How much memory training takes, roughly, beside the data."""

from __future__ import annotations

import math

import torch

from simtrain.common import processes
from simtrain.config.resolved import Resolved
from simtrain.config.schema import PretrainConfig
from simtrain.models.learner import Learner
from simtrain.models.masked_learner import MaskedLearner
from simtrain.models.sit import ONE_TOKEN
from simtrain.training.step import AnyTraining

WEIGHT_BYTES = 16  # itself, its gradient, and AdamW's two moments
BLOCK_ARRAYS = 17  # of the size of its input, in 16 bits, are what a block keeps for its gradient
CUDA = 10**9  # what CUDA and its libraries take


def training_bytes(training: AnyTraining, config: Resolved) -> int:
    """Bytes of weights, gradients, the optimiser's state, a batch, and what the encoder's blocks keep.

    The activations are those of Korthikanti et al. (2022, arXiv 2205.05198, section 4.1), without the
    attention's scores, which are not kept, in the precision of training; or the input of each block, and the
    whole of one, where the blocks are worked out again. A masked encoder takes less.
    """
    model, train = config.model, config.train
    weights = sum(parameter.numel() for parameter in training.learner.parameters())
    samples = math.ceil(train.batch_size / processes.size() / train.accumulate)
    tokens = training.learner.frames.shape[0] * (1 if model.temporal in ONE_TOKEN else config.data.frames)
    wide = 1 if training.precision in (torch.bfloat16, torch.float16) else 2
    layer = 2 * wide * samples * tokens * model.dim
    inputs, within = (model.depth, 1) if model.checkpointing else (0, model.depth)
    of_batch = 4 * samples * math.prod(training.learner.frames.shape) * config.data.frames
    scales = training.learner.frames.scales
    run_scales = 0 if scales is None else scales.nbytes
    kept = WEIGHT_BYTES * weights + inputs * layer + within * layer * BLOCK_ARRAYS
    return CUDA + run_scales + of_batch + kept + _context_bytes(training.learner, config, 2 * wide * samples)


def _context_bytes(learner: Learner | MaskedLearner, config: Resolved, number: int) -> int:
    """Bytes of the time courses that a model sees around its windows, and of the activations of its blocks.

    Parameters
    ----------
    number : bytes of one number for all samples of a batch
    """
    if isinstance(config, PretrainConfig) or isinstance(learner, MaskedLearner) or learner.context is None:
        return 0
    tokens = 1 + learner.context.surroundings.seconds
    blocks = number * tokens * config.model.dim * config.context.depth * BLOCK_ARRAYS
    return learner.context.nbytes + number * tokens * learner.context.patches + blocks
