"""Functional alignment: rotations of a subject's BOLD, patch by patch, onto that of others in the same film.

Hyperalignment's orthogonal Procrustes problem (Haxby et al. 2011, doi:10.1016/j.neuron.2011.08.026) for parts
of the cortex (piecewise: Bazeille et al. 2021, doi:10.1016/j.neuroimage.2021.118683), each in its main
components. A prior for what anatomy alone says, that each component is itself, is added to the products that
are rotated (the ProMises model: Andreella, Finos & Lindquist 2023, doi:10.1002/hbm.26170): with little BOLD
it decides, with much the film does. Unlike a regression on the others' BOLD, a rotation keeps what it has not
seen answered, and the size of what it has: a frozen model gets BOLD of the kind that it knows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotations(own: Tensor, others: Tensor, penalty: float) -> Tensor:
    """(..., k, k) orthogonal: what brings a subject's scores nearest to others', times the prior.

    Parameters
    ----------
    own, others : (n, ..., k) scores in the same n windows
    penalty : weight of the prior, in units of a component's product with itself if subject and others agreed
    """
    own, others = (of.double() - of.double().mean(dim=0) for of in (own, others))
    power = (own.square().sum(dim=(0, -1)) * others.square().sum(dim=(0, -1))).sqrt() / own.shape[-1]
    itself = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    products = torch.einsum("n...k,n...l->...kl", own, others)
    # Where nothing varies, as in a patch without cortex, the prior alone decides.
    weight = torch.where(power > 0, penalty * power, 1.0)
    left, _, right = torch.linalg.svd(products + weight[..., None, None] * itself)
    return (left @ right).float()
