"""What the last build saw in its source and did not take, kept in the store's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
import zarr

from simdata.common.printable import printable
from simdata.release.sources import Rejected
from simdata.store.metadata import Metadata, change
from simdata.store.schema import quiet_zarr

MOST = 1000  # entries that are kept
OF_A_REASON = 200  # of those, with one reason
LONGEST = 500  # characters of a path or a reason


@dataclass(frozen=True)
class NotTaken:
    """``listed`` has the first of ``number``; ``subjects`` were seen and have no run in the store at all."""

    number: int
    subjects: int
    listed: list[Rejected]

    @classmethod
    def of(cls, store: xr.Dataset, place: str | Path) -> NotTaken:
        """What a store keeps of it."""
        found = Metadata.of(store, place).not_taken
        listed = [Rejected(path, reason) for path, reason in found.get("listed", [])]
        return cls(found.get("number", 0), found.get("subjects", 0), listed)


def put_not_taken(store: Path, rejected: Sequence[Rejected], subjects: int) -> None:
    """Keep it in a store, if it is not there already."""
    listed, of_reason = list[list[str]](), dict[str, int]()
    for one in rejected:
        of_reason[one.reason] = of_reason.get(one.reason, 0) + 1
        if of_reason[one.reason] <= OF_A_REASON and len(listed) < MOST:
            listed.append([printable(text)[:LONGEST] for text in (one.path, one.reason)])
    wanted = {"number": len(rejected), "subjects": subjects, "listed": listed}
    group = zarr.open_group(store, mode="r+")
    found = Metadata.of(group, store).not_taken
    if found != wanted and (found or rejected or subjects):
        with quiet_zarr():
            change(group, not_taken=wanted)
            zarr.consolidate_metadata(store)
