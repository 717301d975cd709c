"""Where to compute."""

from __future__ import annotations

import torch

from simdata.common.errors import UserError
from simtrain.common import distributed
from simtrain.common.choices import must_be_one_of

DEVICES = ("auto", "cpu", "cuda")


def torch_device(device: str) -> torch.device:
    """What ``auto``, ``cpu`` or ``cuda`` means on this machine, and for this process.

    Raises
    ------
    UserError
        If it asks for CUDA where there is none, or for something else.
    """
    must_be_one_of("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` cuda: torch finds no CUDA device here; use auto or cpu")
    cuda = device != "cpu" and torch.cuda.is_available()
    return distributed.own_device(torch.device("cuda" if cuda else "cpu"))
