"""Which statistics of its runs a store must have kept for each way of normalising BOLD by vertex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simdata.common.errors import UserError

if TYPE_CHECKING:
    from simtrain.data.dataset import Dataset

KEPT = {"vertex-zscore": (), "vertex-demean": ("bold_std",), "none": ("bold_mean", "bold_std")}


def must_be_kept(dataset: Dataset, vertices: str) -> None:
    """Refuse a store without the statistics that a way of normalising (a key of ``KEPT``) needs.

    Raises
    ------
    UserError
        If it has none.
    """
    if lacking := [name for name in KEPT[vertices] if name not in dataset.view]:
        raise UserError(
            f"{dataset.path} has no {' and no '.join(lacking)}, so that its z-scores cannot be undone "
            "(data.normalise, data.test_normalise): take vertex-zscore, or build the store again with "
            "`simdata build`"
        )
