"""What a BIDS tree holds: which surfaces were made of which scans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.bids_companions import Companions
from simdata.release.bids_names import HEMISPHERE, BidsName
from simdata.release.bids_raw import refuse_raw
from simdata.release.bids_tree import Folder, Tree, raw_roots, trees

NATIVE = ("fsnative", "T1w")  # spaces of each subject's own, in which subjects cannot be compared


@dataclass(frozen=True)
class Sighting:
    """The surface of a scan; of two hemispheres' files, the left one."""

    path: Path
    name: BidsName
    companions: Companions

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file, or that of the left and that of the right hemisphere."""
        right = self.path.with_name(self.path.name.replace(f"{HEMISPHERE}-L", f"{HEMISPHERE}-R"))
        return (self.path, right) if HEMISPHERE in self.name.entities else (self.path,)


@dataclass
class Outline:
    """What a tree holds that formats of BOLD read.

    Attributes
    ----------
    tree : where it is
    subjects : all
    products : what was made of scans, such as ``space-fsLR_den-91k_bold.dtseries.nii`` -> of which
    """

    tree: Tree
    subjects: list[str]
    products: dict[str, list[Sighting]] = field(default_factory=dict)

    def by_task(self, product: str) -> dict[str, list[Sighting]]:
        """The scans of a product by task."""
        found: dict[str, list[Sighting]] = defaultdict(list)
        for one in self.products[product]:
            found[one.name.entities.get("task", "")].append(one)
        return dict(sorted(found.items()))


def outline(source: Path, endings: Iterable[str]) -> Outline:
    """Go through a tree, or the derivative below it, once.

    Raises
    ------
    UserError
        If it is raw, has nothing that can be read, or several derivatives have.
    """
    candidates, lower = trees(source), tuple(ending.lower() for ending in endings)
    found = [one for one in (_of_tree(tree, lower) for tree in candidates) if one.products]
    if len(found) > 1 and found[0].tree.below:
        names = ", ".join(one.tree.below for one in found)
        raise UserError(f"{source}: {names} have surfaces; give the folder of one of them")
    if not found:
        refuse_raw(source, candidates)
        raise UserError(
            f"{source}: has no CIFTI or GIFTI file of BOLD in sub-*/[ses-*/]func, nor below derivatives; "
            "fMRIPrep makes them with --cifti-output 91k or --output-spaces fsaverage6"
        )
    return found[0]


def _of_tree(tree: Tree, endings: tuple[str, ...]) -> Outline:
    found, raw = Outline(tree, tree.subjects()), raw_roots(tree)
    companions: dict[str, Companions] = {}
    for folder, file, name in tree.files():
        if _is_surface(folder, name) and file.lower().endswith(endings):
            beside = companions.setdefault(folder.relative, Companions(folder, tree.root, raw))
            sighting = Sighting(folder.path / file, name, beside)
            found.products.setdefault(name.product, []).append(sighting)
    return found


def _is_surface(folder: Folder, name: BidsName) -> bool:
    whole_or_left = name.entities.get(HEMISPHERE, "L") == "L"
    common = name.entities.get("space") not in NATIVE
    return folder.is_named_for(name) and whole_or_left and common and not name.is_volume


def distinct_values(found: Sequence[Sighting], entity: str) -> list[str]:
    """The values that an entity has, sorted."""
    return sorted({one.name.entities[entity] for one in found if entity in one.name.entities})
