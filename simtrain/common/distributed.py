"""Several processes that train on one batch: each puts its share of it through the network.

`torchrun --nproc-per-node=N -m simtrain fit ...` starts them; without it there is one, and every function
here does nothing. The shares of a batch are gathered as embeddings, so that each process sees the loss of the
whole: how many processes there are changes nothing but the speed.

Gradients are averaged by one flattened all-reduce a step. DDP's wrapper would send them while the backward
pass still runs, but it counts on one forward and one backward pass of one module, and here there may be
several of each (`training.accumulation`), of encoder and projectors; the few tens of million weights of these
models are sent in a small part of a step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from simdata.common.errors import UserError
from simtrain.common.processes import rank, size

Outcome = TypeVar("Outcome")


def own_device(device: torch.device) -> torch.device:
    """The device of this process, where all were given ``device``.

    Raises
    ------
    UserError
        If this machine has fewer GPUs than processes.
    """
    if device.type != "cuda" or size() == 1:
        return device
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise UserError(
            f"process {local} has no GPU: this machine has {torch.cuda.device_count()}; start as many "
            "processes with torchrun --nproc-per-node, or train with `device` cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def must_divide(batch_size: int) -> None:
    """Refuse a batch whose shares would be uneven: the loss would not be that of the whole.

    Raises
    ------
    UserError
        If ``batch_size`` samples do not divide among the processes.
    """
    if batch_size % size():
        raise UserError(
            f"train.batch_size: {batch_size} samples do not divide among {size()} processes: choose a "
            "multiple, or another torchrun --nproc-per-node"
        )


def share(samples: np.ndarray) -> np.ndarray:
    """The part of a batch that is this process's; in the order of their ranks, the parts are the batch."""
    return np.split(samples, size())[rank()]


def shares(batches: Iterable[tuple[np.ndarray, Any]]) -> Iterator[tuple[np.ndarray, Any]]:
    """The part of every batch that is this process's, with what came with it."""
    return ((share(samples), note) for samples, note in batches)


def gather(embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The (size * n, dim) of all processes, in order of rank, from (n, dim) float32 of each modality.

    The gradient is the exact adjoint: every process's slice gets what it contributed to every process's
    loss. With the average of gradients over processes (`average_gradients`), that is the gradient of the
    loss of the whole batch.
    """
    if size() == 1:
        return dict(embeddings)
    return {name: _Gather.apply(values) for name, values in embeddings.items()}


def gather_samples(samples: np.ndarray) -> np.ndarray:
    """(size * n,) of the (n,) samples of each process, in order of rank."""
    if size() == 1:
        return samples
    own = torch.from_numpy(np.ascontiguousarray(samples).view(np.uint8))
    parts = [torch.empty_like(own) for _ in range(size())]
    distributed.all_gather(parts, own)
    return torch.cat(parts).numpy().view(samples.dtype)


def gather_objects(own: list[Outcome]) -> list[Outcome]:
    """The lists of all processes, one behind another."""
    if size() == 1:
        return own
    lists: list[list[Outcome]] = [[]] * size()
    distributed.all_gather_object(lists, own)
    return [item for items in lists for item in items]


def summed(own: Tensor) -> Tensor:
    """The sum of a tensor of all processes; without gradient."""
    total = own.detach().clone()
    if size() > 1:
        distributed.all_reduce(total)
    return total


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their mean over processes, all in one message."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


def same_weights(module: nn.Module) -> None:
    """Give every process the weights of the first."""
    if size() > 1:
        for values in module.state_dict().values():
            distributed.broadcast(values, src=0)


def must_suit_all(problem: str | None) -> None:
    """Refuse, in all processes, what any of them has a ``problem`` with.

    Raises
    ------
    UserError
        In the first process; the others leave with status 1.
    """
    found = [message for message in gather_objects([problem]) if message is not None]
    if found and rank():
        sys.exit(1)
    if found:
        raise UserError(found[0])


def agree(number: int | None) -> int | None:
    """The signal that any process caught, None if none did: all must stop behind the same step."""
    if size() == 1:
        return number
    caught = torch.tensor(number or 0)
    distributed.all_reduce(caught, distributed.ReduceOp.MAX)
    return int(caught) or None


def first_before_others(action: Callable[[], Outcome]) -> Outcome:
    """Do what makes files in the first process, and only then in the others, which find them.

    A user's mistake is told by the first one alone; the others leave with status 1.
    """
    if size() == 1:
        return action()
    failed = torch.tensor(0)
    try:
        if rank() == 0:
            return action()
    except BaseException:
        failed += 1
        raise
    finally:
        distributed.broadcast(failed, src=0)
        if rank() and failed:
            sys.exit(1)
    return action()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(size())]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(size())[rank()]
