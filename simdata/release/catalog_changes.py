"""What differs between the catalog that a store was built from and an edited one, and what may."""

from __future__ import annotations

from dataclasses import dataclass, field

from simdata.release.catalog import Catalog, Movie

# No value comes from them; what was shown when is a part of each run's own record.
FREE = (
    "name",
    "title",
    "reference",
    "stimulus_lag",
    "bold",
    "movie",
    "repeat",
    "subject_pattern",
    "plays",
    "films",
    "transcripts",
)
FREE_OF_A_MOVIE = ("phase_encoding", "session", "video", "transcript", "segments", "plays")
REBUILD = "build to another `out`"


@dataclass
class Changes:
    """An edited catalog beside a store's.

    Attributes
    ----------
    changed : keys whose values differ, which do not change the values of what was converted
    added : movies behind the store's own
    refused : why the store cannot be one of the edited catalog
    """

    changed: list[str] = field(default_factory=list)
    added: list[Movie] = field(default_factory=list)
    refused: str | None = None

    @property
    def of_splits(self) -> bool:
        """Whether the splits are among what changed."""
        return any(key.startswith("splits.") for key in self.changed)

    @property
    def told(self) -> str:
        """What changed, in a few words."""
        more = [f"{len(self.changed) - 9} more"] if len(self.changed) > 9 else []
        return ", ".join([*self.changed[:9], *more]) or "comments only"


def compare(old: Catalog, new: Catalog) -> Changes:
    """What an edited catalog asks of a store of another one; both with the lengths of their films.

    Runs and films that other patterns resolve to are found by their paths and fingerprints, as ever.
    """
    changes = Changes([key for key in FREE if getattr(old, key) != getattr(new, key)])
    if None not in (old.tr, new.tr) and old.tr != new.tr:
        return Changes(refused=f"tr is {new.tr:g}, the store's is {old.tr:g}; {REBUILD}")
    if old.tr != new.tr:
        changes.changed.append("tr")
    if old.clean != new.clean:
        return Changes(refused=f"clean is another, and the store's BOLD was cleaned by its own; {REBUILD}")
    if old.mesh != new.mesh:
        return Changes(refused=f"mesh is {new.mesh}, the store's is {old.mesh}; {REBUILD}")
    names, wanted = ([movie.name for movie in catalog.movies] for catalog in (old, new))
    if wanted[: len(names)] != names:
        return Changes(
            refused=f"movies are {', '.join(wanted[:9])}; the store's are {', '.join(names[:9])}. They may "
            f"not be removed, renamed or put in another order, only added at the end; or {REBUILD}"
        )
    for position, (before, after) in enumerate(zip(old.movies, new.movies, strict=False)):
        if before.length != after.length:
            key = "volumes" if after.volumes and not after.seconds else "seconds"
            return Changes(
                refused=f"movies[{position}].{key} ({after.name}) is {after.length}, the store's runs "
                f"have {before.length}; {REBUILD}"
            )
        changes.changed += [
            f"movies[{position}].{key}"
            for key in FREE_OF_A_MOVIE
            if getattr(before, key) != getattr(after, key)
        ]
    changes.added = new.movies[len(names) :]
    for position, movie in enumerate(changes.added, start=len(names)):
        if movie.length > old.seconds:
            key = "volumes" if movie.volumes and not movie.seconds else "seconds"
            return Changes(
                refused=f"movies[{position}].{key} ({movie.name}) is {movie.length}, and the store's "
                f"seconds end at {old.seconds}, which is part of how each run is stored; {REBUILD}"
            )
        changes.changed.append(f"movies[{position}] ({movie.name}, added)")
    for key in ("subjects", "scenes"):
        if getattr(old.splits, key) != getattr(new.splits, key):
            changes.changed.append(f"splits.{key}")
    return changes
