"""What is drawn for each sample of a step of training.

A sample's numbers are a function of seed, step and the sample alone, so that they are the same on every
device, in whichever process and part of the batch the sample is, and in a run that goes on. They are those of
SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195): a hash of a counter, which torch works out in
int64.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

IDENTITY = ("subject", "movie", "second", "hemisphere")  # of a sample
GAMMA = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
BITS = 24  # of a float32's fraction


class SampleDraws(NamedTuple):
    """The random numbers of a step."""

    seed: int
    step: int

    def uniform(self, samples: np.ndarray, purpose: str, count: int, device: torch.device) -> Tensor:
        """(n, count) float32 in [0, 1) for ``samples`` (SAMPLE); other purposes have other numbers."""
        state = torch.full((len(samples),), _signed(self.seed))
        for word in (self.step, zlib.crc32(purpose.encode())):
            state = hashed(state ^ word)
        for field in IDENTITY:
            state = hashed(state ^ torch.from_numpy(samples[field].astype(np.int64)))
        return (numbers(state.to(device), count) >> (64 - BITS) & ((1 << BITS) - 1)) * 2.0**-BITS


def numbers(state: Tensor, count: int) -> Tensor:
    """(n, count) int64: the bits of the first ``count`` numbers of SplitMix64 from each state (n,) int64."""
    steps = torch.arange(1, count + 1, device=state.device) * _signed(GAMMA)
    return _mixed(state[:, None] + steps)


def hashed(state: Tensor) -> Tensor:
    """The first of `numbers`."""
    return numbers(state, 1)[:, 0]


def _mixed(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(FACTORS[0])
    z = (z ^ _shifted(z, 27)) * _signed(FACTORS[1])
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """To the right, as if unsigned."""
    return z >> by & ((1 << (64 - by)) - 1)


def _signed(bits: int) -> int:
    """The int64 of the same 64 bits."""
    return (bits + 2**63) % 2**64 - 2**63
