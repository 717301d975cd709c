"""How alike pictures are: SSIM, PSNR and the correlation of pixels, of every picture with every other.

Every score is larger the more alike two pictures are. They are computed here and not by scikit-image, which
takes a pair at a time and looks at each picture anew: a gallery has millions of pairs. The tests hold them
against scikit-image's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # Wang et al.: a Gaussian of 11 x 11 pixels
STABLE = (0.01**2, 0.03**2)  # their C1 and C2, for values from 0 to 1
LUMINANCE = (0.2125, 0.7154, 0.0721)  # ITU-R BT.709, as scikit-image's rgb2gray
ROUNDING = 1 / 12 / 255**2  # mean squared error of rounding to 8 bits
PART = 256  # pictures that are held in double precision at once


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of luminance (Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861).

    Only windows that lie wholly in the picture count, as in the authors' code.

    Parameters
    ----------
    one, other : (n, y, x, 3) and (m, y, x, 3) float32 RGB from 0 to 1, at least 11 by 11 pixels

    Returns
    -------
    (n, m), 1 for equal pictures
    """
    one, other = _luminance(one), _luminance(other)
    rows, columns = (_blur(size, one) for size in one.shape[1:])

    def blurred(values: Tensor) -> Tensor:
        return rows @ values @ columns.T

    mean, mean_other = blurred(one), blurred(other)
    variance = blurred(one.square()) - mean.square()
    variance_other = blurred(other.square()) - mean_other.square()
    result = one.new_empty(len(one), len(other))
    for i, picture in enumerate(one):  # against all others at once
        product = mean[i] * mean_other
        covariance = blurred(picture * other) - product
        numerator = (2 * product + STABLE[0]) * (2 * covariance + STABLE[1])
        squares = mean[i].square() + mean_other.square()
        denominator = (squares + STABLE[0]) * (variance[i] + variance_other + STABLE[1])
        result[i] = (numerator / denominator).mean(dim=(1, 2))
    return result


def psnr(one: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all pixels and channels in dB: (n, m), as for `ssim`.

    No larger than 58.9 dB, what rounding to 8 bits leaves, so that equal pictures have one too.
    """
    one, other = one.flatten(1), other.flatten(1).double()
    squares = other.square().sum(dim=1)
    error = [
        part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ other.T for part in _double_parts(one)
    ]
    return -10 * torch.log10(torch.cat(error).div(one.shape[1]).clamp(min=ROUNDING)).float()


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation over all pixels and channels: (n, m), as for `ssim`.

    It is 0 if a picture has one value throughout.
    """
    other = _standardised(other.flatten(1).double()).T
    return torch.cat([_standardised(part) @ other for part in _double_parts(one.flatten(1))]).float()


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine similarity of features (n, f) and (m, f): (n, m)."""
    return torch.nn.functional.normalize(one, dim=1) @ torch.nn.functional.normalize(other, dim=1).T


def _luminance(pictures: Tensor) -> Tensor:
    return pictures @ pictures.new_tensor(LUMINANCE)


def _blur(size: int, like: Tensor) -> Tensor:
    """(size - WINDOW + 1, size): the Gaussian at every place where it fits."""
    away = torch.arange(WINDOW, device=like.device) - WINDOW // 2
    weights = torch.exp(-away.square() / (2 * SIGMA**2)).to(like.dtype)
    matrix = like.new_zeros(size - WINDOW + 1, size)
    for place, row in enumerate(matrix):
        row[place : place + WINDOW] = weights / weights.sum()
    return matrix


def _double_parts(values: Tensor) -> Iterator[Tensor]:
    return (part.double() for part in values.split(PART))


def _standardised(values: Tensor) -> Tensor:
    """Mean 0 and unit length of every row; rows of one value become 0."""
    constant = values.amax(dim=1, keepdim=True) == values.amin(dim=1, keepdim=True)
    values = values - values.mean(dim=1, keepdim=True)
    return torch.where(constant, 0.0, torch.nn.functional.normalize(values, dim=1))
