"""A BIDS catalog's scans, as the table of plays takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.bids import BidsScan, FoundScans, find_scans
from simdata.release.bids_names import SESSION, BidsSelection
from simdata.release.catalog import REST, Catalog
from simdata.release.sources import RESERVED, NamedScan, Rejected


@dataclass
class NamedScans:
    """The scans of a catalog, each with what is wrong with it; and what is not taken.

    Attributes
    ----------
    subjects : all that were asked for, or seen
    """

    subjects: list[str]
    scans: list[tuple[NamedScan, UserError | None]]
    rejected: list[Rejected]


def scans_of(
    catalog: Catalog, source: Path, endings: Sequence[str], subjects: Sequence[str] | None = None
) -> FoundScans:
    """All scans that a BIDS catalog means; one at rest is none.

    Raises
    ------
    UserError
        As `simdata.release.bids.find_scans`.
    """
    assert isinstance(catalog.bold, dict)
    assert catalog.movie is not None
    found = find_scans(
        source,
        BidsSelection(catalog.bold),
        movie=catalog.movie,
        repeat=catalog.repeat,
        endings=endings,
        subjects=subjects,
    )
    resting = [one for one in found.scans if one.movie.lower() == REST]
    found.scans = [one for one in found.scans if one not in resting]
    found.unusable = [(one, error) for one, error in found.unusable if one.movie.lower() != REST]
    found.rejected += [Rejected(one.scan.relative[0], "is a scan at rest") for one in resting]
    return found


def named_scans(
    catalog: Catalog, source: Path, endings: Sequence[str], subjects: Sequence[str] | None = None
) -> NamedScans:
    """The scans of a catalog's movies; those of no movie of it join what is not taken."""
    found = scans_of(catalog, source, endings, subjects)
    movies = {movie.name for movie in catalog.movies}
    named: list[tuple[NamedScan, UserError | None]] = []
    for one, error in [*((scan, None) for scan in found.scans), *found.unusable]:
        if one.subject == RESERVED:
            reason = f"no subject may be called {RESERVED!r}; rename it"
            found.rejected.append(Rejected(one.scan.relative[0], reason))
        elif not tells_movies(catalog):
            named.append((_named(one, None), error))
        elif one.name in movies:
            named.append((_named(one, one.name), error))
        else:
            reason = f"is of no movie of the catalog ({one.name})"
            found.rejected.append(Rejected(one.scan.relative[0], reason))
    return NamedScans(found.subjects, named, found.rejected)


def tells_movies(catalog: Catalog) -> bool:
    """Whether names of files say what was shown, and not the catalog's plays."""
    events = catalog.plays.events
    return catalog.plays.table is None and (events is None or events.movie is None)


def _named(one: BidsScan, movie: str | None) -> NamedScan:
    run, session = one.entities.get("run", ""), one.entities.get(SESSION, "")
    return NamedScan(one.subject, session, run, movie, one.scan)
