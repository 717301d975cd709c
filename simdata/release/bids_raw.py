"""Raw BIDS trees, which hold no surface yet: what to run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.bids_names import OF_SCANS
from simdata.release.bids_tree import DERIVATIVES, Tree

FMRIPREP = "fmriprep {raw} {raw}/derivatives/fmriprep participant"


def refuse_raw(source: Path, candidates: Sequence[Tree]) -> None:
    """Raise a UserError, with the command that makes what is needed, if all that there is is raw."""
    own = [tree for tree in candidates if not tree.below]
    if own and len(candidates) == 1 and is_raw(own[0]):
        raise UserError(
            f"`source` {source}: is a raw BIDS tree, of volumes as the scanner gave them. fMRIPrep makes "
            f"surfaces of them:\n  {FMRIPREP.format(raw=source)} --cifti-output 91k\n(or --output-spaces "
            f"fsaverage6 for GIFTI); then give {source}/{DERIVATIVES}/fmriprep"
        )


def is_raw(tree: Tree) -> bool:
    """Whether a tree has BOLD, and all of it without an entity that derivatives have."""
    bold = [name for _, _, name in tree.files() if name.suffix == "bold" and name.extension != ".json"]
    return bool(bold) and all(name.is_volume and set(name.entities) <= set(OF_SCANS) for name in bold)
