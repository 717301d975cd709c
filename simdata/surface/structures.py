"""What files call the two hemispheres' cortices."""

from __future__ import annotations

from pathlib import Path

from nibabel.gifti import GiftiImage

from simdata.common.errors import UserError

IN_CIFTI = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
IN_GIFTI = {"L": "CortexLeft", "R": "CortexRight"}


def hemisphere_of(image: GiftiImage, path: Path) -> str:
    """L or R, as a GIFTI file says of itself.

    Raises
    ------
    UserError
        If it does not.
    """
    said = {meta.get("AnatomicalStructurePrimary") for meta in (image.meta, *(a.meta for a in image.darrays))}
    for hemisphere, structure in IN_GIFTI.items():
        if structure in said:
            return hemisphere
    raise UserError(
        f"{path}: does not say that it is of CortexLeft or CortexRight: set it with "
        "`wb_command -set-structure`"
    )
