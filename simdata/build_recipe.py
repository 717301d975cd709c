"""What is to be built and how, and what was: the terms of `simdata.building`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from simdata.encoders import Encoder
from simdata.films.film_conversion import THUMBNAIL_HEIGHT
from simdata.release.catalog import Catalog
from simdata.release.sources import Rejected
from simdata.store.parcel_arrays import ParcelAxis
from simdata.surface.sphere_files import SphereFiles


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the store's values are; kept in its metadata.

    ``encoders`` are written as `simdata.encoders.create` reads them; None: one without weights for each of
    the ``modalities``, which are those of the films by default. ``spheres`` take the place of those that
    follow from formulas, and of the registration that comes with simdata. ``parcels`` are those of the runs;
    None in a store of vertices.
    """

    catalog: Catalog
    catalog_text: str
    encoding: str
    encoders: tuple[str, ...] | None = None
    modalities: tuple[str, ...] | None = None
    spheres: SphereFiles | None = None
    parcels: ParcelAxis | None = None

    def attributes(self, encoders: Sequence[Encoder]) -> dict[str, Any]:
        """What a store must agree in to be continued with this recipe."""
        on_mesh = {
            "mesh": "ico6",
            "resampling": "barycentric",
            "normalisation": "z-score per vertex and run",
        }
        by_parcel = {"normalisation": "z-score per parcel and run"}
        return {
            "recipe": {
                **(on_mesh if self.parcels is None else by_parcel | {"parcels": self.parcels.identity}),
                "encoding": self.encoding,
                "encoders": {encoder.array: encoder.identity() for encoder in encoders},
                "thumbnail_height": THUMBNAIL_HEIGHT,
                **({"spheres": self.spheres.identity()} if self.spheres else {}),
            },
        }

    @property
    def catalog_sha256(self) -> str:
        """Hash of the catalog's text."""
        return hashlib.sha256(self.catalog_text.encode()).hexdigest()

    def catalog_metadata(self) -> dict[str, Any]:
        """What a store keeps of its catalog."""
        return {
            "catalog_name": self.catalog.name,
            "catalog": self.catalog_text,
            "catalog_sha256": self.catalog_sha256,
            "stimulus_lag": self.catalog.stimulus_lag,
        }


@dataclass(frozen=True)
class Options:
    """How to build; none of it changes the store's values. ``max_memory`` is in bytes."""

    workers: int
    max_memory: int | None
    on_error: Literal["stop", "skip"]
    checksum: bool
    subjects: tuple[str, ...] | None


@dataclass(repr=False)
class BuildSummary:
    """What a build did, by the keys of runs and films; ``skipped`` gives the reasons.

    Attributes
    ----------
    complete, possible : runs in the store now, and those that all subjects seen would have
    not_taken : what looks like a subject or a run in the source and is neither in the store nor skipped
    warnings : sets that are empty, the same content twice and the like
    notes : what changed beside runs and films
    """

    converted: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    complete: int = 0
    possible: int = 0
    not_taken: list[Rejected] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return (
            f"BuildSummary(converted={len(self.converted)}, current={len(self.current)}, "
            f"skipped={len(self.skipped)}, complete={self.complete}, possible={self.possible})"
        )
