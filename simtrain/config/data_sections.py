"""Section ``data`` of a configuration: what a sample is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simtrain.config.section import LONGEST, Section

PARCELS = "parcels"  # in place of hemispheres, in a store of parcels

# What is done by vertex over its run comes first: only of that does a store keep what it takes.
Normalise = Literal[
    "vertex-zscore+frame-zscore",
    "vertex-demean+frame-zscore",
    "frame-zscore",
    "vertex-zscore",
    "vertex-demean",
    "none",
]


class WindowConfig(Section):
    """A window of BOLD."""

    frames: int = Field(default=3, ge=1, le=LONGEST, description="Seconds of BOLD in a window.")
    lag: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Seconds by which BOLD is behind the stimulus; null: the store's lag."
    )
    hemispheres: Literal["both", "L", "R", "parcels"] = Field(
        default="both",
        description="With one of them alone, the other is neither read nor tested. A store of parcels has "
        "one side, parcels, which is what both stands for there.",
    )

    normalise: Normalise = Field(
        default="vertex-zscore+frame-zscore",
        description="What is done to BOLD, in this order: each vertex has its mean over the run taken off, "
        "and is divided by its s.d. (vertex-zscore) or not (vertex-demean); each frame is z-scored over the "
        "cortex (frame-zscore). none: the values of the file, in the scanner's units.",
    )

    moments: Literal["clips", "shown", "any"] = Field(
        default="clips",
        description="Seconds of runs that training and validation take: those that answer a whole clip "
        "within a scene (clips), at which a scene is on screen (shown), or all, rest and test-retest too "
        "(any). What answers a held-out scene, or has its clip, is in none.",
    )

    @property
    def by_vertex(self) -> str:
        """The step of ``normalise`` by vertex, or none."""
        first = self.normalise.partition("+")[0]
        return first if first.startswith("vertex-") else "none"

    @property
    def by_frame(self) -> bool:
        """Whether ``normalise`` z-scores frames."""
        return self.normalise.endswith("frame-zscore")

    @property
    def unit(self) -> str:
        """What BOLD is in behind ``normalise``."""
        return "s.d." if "zscore" in self.normalise else "scanner unit"

    @property
    def sides(self) -> tuple[int, ...]:
        """Positions of the hemispheres in a store; its parcels are one."""
        positions: dict[str, tuple[int, ...]] = {"both": (0, 1), "L": (0,), "R": (1,), PARCELS: (0,)}
        return positions[self.hemispheres]

    @property
    def side_names(self) -> tuple[str, ...]:
        """What those at ``sides`` are called."""
        return ("L", "R") if self.hemispheres == "both" else (self.hemispheres,)


class DataConfig(WindowConfig):
    """What a sample is made of: a window of BOLD, and the stimulus clip that it answers."""

    test_normalise: Normalise | None = Field(
        default=None,
        description="As normalise, where a trained model is put to use (retrieve, predict, reconstruct, "
        "saliency), but not in validation; null: as in training.",
    )

    video: str | None = Field(
        default=None, description="Encoder that the modality video stands for; null: the store's only one."
    )
    audio: str | None = Field(
        default=None, description="Encoder that the modality audio stands for; null: the store's only one."
    )
    text: str | None = Field(
        default=None, description="Encoder that the modality text stands for; null: the store's only one."
    )
    features: Literal["standardised", "raw"] = Field(
        default="standardised",
        description="Stimulus features: with mean 0 and s.d. 1 over the clips of training scenes, or as the "
        "store has them.",
    )
    lag_jitter: int = Field(
        default=0,
        ge=0,
        description="In training, the most seconds by which the lag of a sample may differ from lag.",
    )
