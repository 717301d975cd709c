"""How a model is put to the retrieval test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from simdata.common.errors import UserError
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.data.experiments import SET_NAMES
from simtrain.retrieval import by_modality
from simtrain.retrieval.by_modality import Gap, Pool
from simtrain.retrieval.joint import NONE, VALIDATION, WAYS, Joint
from simtrain.retrieval.metrics import chosen

OR_RETEST = "other-clips-or-retest"
# `simtrain.retrieval.pools` says what they are.
NEGATIVES = ("same-movie", "other-clips", OR_RETEST, "same-clip", "nearest", "cross-movie")
HEMISPHERES = ("mean", "each", "L", "R")
CLIPS_OF = ("experiment", "run")
WHOLE_MOVIE = "movie"
EXACT: Final = "exact"
DRAWN_CLIPS = 100


@dataclass(frozen=True)
class Protocol:
    """Windows are tested, each against a pool of candidates.

    Attributes
    ----------
    pool : number of candidates, the true one included, or "movie": all of the tested window's movie; or a
        mapping from modalities of the stimulus to these (`simtrain.retrieval.by_modality`)
    draws : exact: every window is tested once, and what is expected over all pools that could be drawn is
        worked out; or how often windows and pools are drawn: 2 or more; of runs 1 or more
    clips : how many windows a draw has; None: all, if nothing is drawn, else ``DRAWN_CLIPS``
    clips_of : what ``clips`` windows are drawn of: the whole experiment, no window twice in a draw; or each
        run (subject and movie): one of its film clips, then a window of that, with replacement, as published
    lag : s from stimulus to BOLD
    split : the set that is tested: ``test``; ``val``, to choose by; or ``train``, of what was seen
    negatives : one of ``NEGATIVES``
    average_subjects : test the mean of the subjects' embeddings of the same window
    average_windows : test means over that many consecutive seconds of one film clip
    shuffle : control: every clip gets another's stimulus
    hemispheres : what is tested of a window: the mean of its hemispheres' embeddings, each of them by itself
        against windows of its own hemisphere, as published, or one alone
    gap : s between a tested window and a negative of its movie, at least; None: 3, or what a window covers if
        that is more; or a mapping, as of ``pool``
    subjects, movies : whose windows are tested and make up the pools; none: those of all
    joint : how the modalities of the stimulus are weighted in one query of all (`simtrain.retrieval.joint`):
        by validation, equal, none (there is no such query), or a mapping from modalities to weights
    metrics : beside the standard ones (`simtrain.retrieval.metrics`); they change no rank
    based_on : the name that it goes by, of `simtrain.retrieval.named_protocols`, with what is not as there

    Raises
    ------
    UserError
        If a part is out of its range, or the parts contradict each other.
    """

    pool: Pool = 32
    clips: int | None = None
    clips_of: str = field(default=CLIPS_OF[0], kw_only=True)
    draws: int | Literal["exact"] = EXACT
    lag: int = field(kw_only=True)  # as trained, which only the run knows
    split: str = field(default="test", kw_only=True)
    negatives: str = NEGATIVES[0]
    shuffle: bool = False
    seed: int = 0
    average_subjects: bool = False
    average_windows: int = 1
    hemispheres: str = HEMISPHERES[0]
    gap: Gap | None = None
    subjects: tuple[str, ...] = ()
    movies: tuple[str, ...] = ()
    joint: Joint = field(default=VALIDATION, kw_only=True)
    metrics: tuple[str, ...] = ()
    based_on: str = "ours"

    def __post_init__(self) -> None:
        if self.draws != EXACT and self.clips is None:
            object.__setattr__(self, "clips", DRAWN_CLIPS)
        self._must_be_in_range()
        self._must_draw_what_it_says()
        chosen(self.metrics)
        if self.negatives != "same-movie" and WHOLE_MOVIE in by_modality.values("pool", self.pool):
            raise UserError(
                f"`pool` movie with `negatives` {self.negatives}: the pool is the tested window's own movie: "
                "give `negatives` same-movie, or `pool` a number"
            )

    def _must_be_in_range(self) -> None:
        for size in by_modality.values("pool", self.pool):
            if isinstance(size, str) and size != WHOLE_MOVIE:
                raise UserError(f"pool: {size!r} is neither a number of candidates nor {WHOLE_MOVIE!r}")
            if size != WHOLE_MOVIE:
                must_be_at_least("pool", size, 2)
        for name, smallest in {"lag": 0, "seed": 0, "average_windows": 1}.items():
            must_be_at_least(name, getattr(self, name), smallest)
        if self.gap is not None:
            for seconds in by_modality.values("gap", self.gap):
                must_be_at_least("gap", seconds, 1)
        must_be_one_of("split", self.split, tuple(SET_NAMES))
        must_be_one_of("clips_of", self.clips_of, CLIPS_OF)
        must_be_one_of("negatives", self.negatives, NEGATIVES)
        must_be_one_of("hemispheres", self.hemispheres, HEMISPHERES)
        if isinstance(self.joint, str):
            must_be_one_of("joint", self.joint, WAYS)
        else:
            by_modality.values("joint", self.joint)

    def _must_draw_what_it_says(self) -> None:
        if self.draws != EXACT:
            if isinstance(self.draws, str):
                raise UserError(f"draws: {self.draws!r} is neither a number of draws nor {EXACT!r}")
            must_be_at_least("draws", self.draws, 1 if self.clips_of == "run" else 2)
            must_be_at_least("clips", self.drawn_clips, 1)
            return
        for name, plain in (("clips", None), ("clips_of", CLIPS_OF[0])):
            if (value := getattr(self, name)) != plain:
                raise UserError(
                    f"`{name}` {value}: every window is tested, and none drawn: leave it out, or "
                    "give `draws` a number"
                )

    @property
    def drawn_clips(self) -> int:
        """How many windows a draw has, where they are drawn."""
        assert self.clips is not None
        return self.clips

    def of(self, modality: str) -> Protocol:
        """The same with the pool and the gap of one modality of the stimulus alone.

        Raises
        ------
        UserError
            If one of them says nothing of it.
        """
        pool, gap = (
            by_modality.of_modality(name, setting, modality)
            for name, setting in (("pool", self.pool), ("gap", self.gap))
        )
        return replace(self, pool=pool, gap=gap, joint=NONE)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the ranks, as JSON has it: name of a parameter -> its value."""
        found = {name: getattr(self, name) for name in SETTINGS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @property
    def which(self) -> dict[str, Any]:
        """What `simtrain.data.windows.Windows.experiments` takes: of what the pools are."""
        return {
            "split": self.split,
            "subjects": self.subjects,
            "movies": self.movies,
            "in_no_set": self.negatives == OR_RETEST,
        }

    @property
    def in_validation(self) -> Protocol:
        """The same test of all windows of the validation set, to choose by."""
        plain = replace(self, split="val", shuffle=False, subjects=(), movies=(), metrics=())
        return replace(plain, draws=EXACT, clips=None, clips_of=CLIPS_OF[0])

    @property
    def pool_negatives(self) -> int | None:
        """How many stand against the true one; None: all that there are. Of one modality (`of`)."""
        assert not isinstance(self.pool, Mapping)
        return None if isinstance(self.pool, str) else self.pool - 1

    @property
    def pools_differ(self) -> bool:
        """Whether pools may be of different sizes, so that ranks do not compare."""
        sizes = set(by_modality.values("pool", self.pool))
        return WHOLE_MOVIE in sizes or len(sizes) > 1

    def __str__(self) -> str:
        whole = self.pool == WHOLE_MOVIE
        pool = "pool of the whole movie" if whole else f"pool of {by_modality.in_words(self.pool)}"
        negatives = "" if whole else f", {self.negatives} negatives"
        seconds = f", mean of {self.average_windows} s" if self.average_windows > 1 else ""
        subjects = ", mean of subjects" if self.average_subjects else ""
        shuffled = ", stimulus shuffled" if self.shuffle else ""
        sides = {"mean": "mean of hemispheres", "each": "each hemisphere"}
        unit = sides.get(self.hemispheres, f"hemisphere {self.hemispheres}")
        apart = "" if self.gap is None else f", gap of {by_modality.in_words(self.gap, ' s')}"
        of_runs = ", clips of each run" if self.clips_of == "run" else ""
        what = f"{SET_NAMES[self.split]}, {pool}{negatives}{apart}, lag {self.lag} s, {unit}"
        return f"{what}{of_runs}{seconds}{subjects}{shuffled}"


SETTINGS = tuple(one.name for one in fields(Protocol) if one.name not in ("metrics", "based_on"))
