"""What the study's miniature has that may make one method better than another, by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from simdata.common.errors import UserError


class Property(NamedTuple):
    """A property: what it is, what is there in its place when it is off, and the sign that it should give.

    ``expected`` was written before any study was run; docs/demo.md shows it.
    """

    on: str
    off: str
    expected: str


NOTHING = "none: it is there to be like real data"
PROPERTIES = {
    "smooth": Property(
        "noise is smooth over the cortex",
        "each vertex has noise of its own",
        "pretraining ends below its linear reference",
    ),
    "one-over-f": Property("noise is 1/f over time", "noise is white over time", NOTHING),
    "networks": Property(
        "vertices share the noise of 17 networks", "that share is the vertex's own noise", NOTHING
    ),
    "global-signal": Property(
        "all of the cortex shares a noise", "that share is the vertex's own noise", NOTHING
    ),
    "warp": Property(
        "each subject's cortex is displaced by some 3.5 mm, smoothly",
        "all subjects have one topography",
        "the transformer gains on PCA",
    ),
    "regional-hrf": Property(
        "regions, and subjects, differ in when their response peaks",
        "the response is SPM's everywhere",
        NOTHING,
    ),
    "shared-categories": Property(
        "picture and sound of a scene are of one category",
        "each has a category of its own",
        "three modalities gain on two",
    ),
    "conjunctive": Property(
        "a region responds to the product of what is seen and what is heard",
        "it responds to the one of them alone",
        "the transformer gains on ridge regression",
    ),
}
ALL = "all"


def remaining(without: Collection[str]) -> frozenset[str]:
    """The properties that stay on.

    Raises
    ------
    UserError
        If a name is none of a property.
    """
    if unknown := sorted(set(without) - {*PROPERTIES, ALL}):
        raise UserError(f"`without`: no property {unknown[0]!r}; there are {ALL}, {', '.join(PROPERTIES)}")
    return frozenset() if ALL in without else frozenset(PROPERTIES) - set(without)
