"""Catalogs: what a movie-watching data set contains, as validated YAML.

A catalog names the movies, their runs, segments and files; it holds no path of a machine. Times
are in seconds from the start of the run, intervals are half-open ``[start, stop)``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simdata.release.patterns import LONGEST_NAME, check_bold, check_glob, check_regex

MOST_SECONDS = 86_400  # of a run: a day
Seconds = Annotated[int, Field(ge=0, le=MOST_SECONDS)]
SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]
REST, REPEAT = "rest", "test-retest"


def _flag_word(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.@+-]+", name):
        raise ValueError("use letters, digits and _ - + @ . only (it becomes a CF flag meaning)")
    if name.startswith("."):
        raise ValueError("may not begin with a dot (it becomes a part of file names)")
    return name


def _name_part(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.+-]*", text):
        raise ValueError("use letters, digits and _ - + . only (it becomes a part of file names)")
    return text


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Input should be a valid number (it is {value!r:.60})")
    return value


def _ids_or_fraction(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise ValueError(f"must be a list of subjects or a fraction such as 0.1, not {value!r:.60}")
    if not isinstance(value, list):
        return float(value)
    if wrong := [one for one in value if not isinstance(one, str)]:
        raise ValueError(f'write each id in quotes, such as "{str(wrong[0])[:60]}"')
    _differ(value)
    return value


def _differ(names: Iterable[str]) -> None:
    if twice := _repeated(names):
        raise ValueError(f"listed twice: {', '.join(twice[:5])}")


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _distinct(names: list[str]) -> list[str]:
    _differ(names)
    return names


Number = Annotated[float, BeforeValidator(_number), Field(strict=False, allow_inf_nan=False)]
Subjects = Annotated[list[str] | float, BeforeValidator(_ids_or_fraction)]
Name = Annotated[str, AfterValidator(_flag_word)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Segment(_Strict):
    """A stretch of the run in which one clip is shown."""

    name: Name
    start: Seconds
    stop: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop <= self.start:
            raise ValueError(f"stop ({self.stop}) must be after start ({self.start})")
        return self


class Movie(_Strict):
    """One movie: the run in which it was shown, and its stimulus file.

    ``volumes`` is the number of TRs of the run; ``video`` a glob below the movies folder.
    The clip that all movies repeat is the segment named ``test-retest``.
    """

    name: Name
    volumes: Annotated[int, Field(gt=0, le=MOST_SECONDS)]
    phase_encoding: Annotated[str, AfterValidator(_name_part)]
    session: Annotated[int, Field(ge=0, le=1_000_000)]
    video: Annotated[str, AfterValidator(check_glob)]
    segments: list[Segment]

    @model_validator(mode="after")
    def _segments_in_run(self) -> Self:
        end = 0
        for segment in self.segments:
            if segment.name == REST:
                raise ValueError("rest is what no segment covers: do not list it")
            if segment.start < end:
                raise ValueError(f"segment {segment.name} starts before the one before it ends")
            end = segment.stop
        if end > self.volumes:
            last = self.segments[-1].name
            raise ValueError(f"segment {last} ends at {end}, after the run's {self.volumes} volumes")
        return self


class SubjectSplit(_Strict):
    """Subjects of the validation and the test set: explicit lists, or fractions.

    With fractions a subject's set depends on nothing but its id and the seed, so that it stays
    where it is when more subjects arrive, and two labs with different downloads agree.
    """

    val: Subjects = Field(default_factory=list)
    test: Subjects = Field(default_factory=list)
    seed: int = 0

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if isinstance(self.val, list) and isinstance(self.test, list):
            if both := set(self.val) & set(self.test):
                raise ValueError(f"subjects both in val and test: {sorted(both)[:5]}")
        elif isinstance(self.val, list) or isinstance(self.test, list):
            raise ValueError("val and test must both be lists of subjects or both fractions")
        elif not (min(self.val, self.test) >= 0 and self.val + self.test < 1):  # not so for NaN
            raise ValueError("fractions must be >= 0 and leave something for train")
        return self

    def of(self, subject: str) -> Split:
        """The set that a subject belongs to."""
        if isinstance(self.val, list) and isinstance(self.test, list):
            return "test" if subject in self.test else "val" if subject in self.val else "train"
        assert not isinstance(self.val, list), "both are lists, or none is"
        assert not isinstance(self.test, list), "both are lists, or none is"
        digest = hashlib.sha256(f"{self.seed}:{subject}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return "test" if place < self.test else "val" if place < self.test + self.val else "train"


class SceneSplit(_Strict):
    """Which stretches of film belong to which set; the test-retest clip belongs to none.

    ``fractions`` cuts every clip by time ([0, 1] is the whole clip); ``clips`` names whole clips,
    and takes precedence. What neither names is train.
    """

    fractions: dict[Split, Annotated[tuple[Number, Number], Field(strict=False)]] = Field(
        default_factory=dict
    )
    clips: dict[Split, Annotated[list[str], AfterValidator(_distinct)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_second_in_one(self) -> Self:
        for split, (low, high) in self.fractions.items():
            if not 0 <= low < high <= 1:
                raise ValueError(
                    f"fractions.{split}: [{low:g}, {high:g}] must be [from, to) with 0 <= from < to <= 1"
                )
        ordered = sorted((low, high, split) for split, (low, high) in self.fractions.items())
        for (_, end, one), (start, _, other) in pairwise(ordered):
            if start < end:
                raise ValueError(f"fractions: {one} and {other} overlap between {start:g} and {end:g}")
        listed = [name for names in self.clips.values() for name in names]
        if REPEAT in listed:
            raise ValueError(f"clips: {REPEAT} is shown in every run and belongs to no set")
        if twice := _repeated(listed):
            raise ValueError(f"clips: {', '.join(twice[:5])} is in two sets")
        return self

    def of(self, segment: Segment, second: int) -> Split | None:
        """The set of one second of a segment; None for the test-retest clip."""
        if segment.name == REPEAT:
            return None
        for split, names in self.clips.items():
            if segment.name in names:
                return split
        place = (second - segment.start) / (segment.stop - segment.start)
        for split, (low, high) in self.fractions.items():
            if low <= place < high:
                return split
        return "train"


class Splits(_Strict):
    """How subjects and scenes are divided into train, val and test."""

    subjects: SubjectSplit = SubjectSplit()
    scenes: SceneSplit = SceneSplit()


class Catalog(_Strict):
    """A data set: see ``catalogs/hcp7t-movie.yaml`` for a complete one.

    ``bold`` lists path patterns below the source folder, best first; ``{subject}``, ``{movie}``
    and ``{phase_encoding}`` are filled in. ``subject_pattern`` is what a subject's id looks like.

    Parameters
    ----------
    name, title, reference, tr, stimulus_lag, bold, subject_pattern, movies, splits
        The keys of the YAML file (docs/catalogs.md); `Catalog.load` reads one.

    Raises
    ------
    pydantic.ValidationError
        If keys are unknown, missing or of the wrong type. `Catalog.load` says it in a UserError.

    Examples
    --------
    >>> catalog = simdata.Catalog.load("demo")
    >>> catalog
    Catalog('demo', movies=4)
    >>> catalog.movies[0].volumes  # s
    164
    """

    name: Name
    title: str
    reference: str = ""
    tr: Number
    stimulus_lag: Seconds
    bold: Annotated[
        list[Annotated[str, AfterValidator(check_bold)]], Field(min_length=1), AfterValidator(_distinct)
    ]
    subject_pattern: Annotated[str, AfterValidator(check_regex)]
    movies: Annotated[list[Movie], Field(min_length=1)]
    splits: Splits = Splits()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tr != 1.0:
            raise ValueError("tr must be 1.0: the store is indexed by second, one volume each")
        names = [movie.name for movie in self.movies]
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError(f"movie names must differ, not only in upper and lower case: {names[:20]}")
        self._check_ids()
        clips = {segment.name for movie in self.movies for segment in movie.segments}
        for split, listed in self.splits.scenes.clips.items():
            if unknown := set(listed) - clips:
                raise ValueError(f"splits.scenes.clips.{split}: no movie has the clips {sorted(unknown)}")
        return self

    def _check_ids(self) -> None:
        for split in ("val", "test"):
            listed = getattr(self.splits.subjects, split)
            for subject in listed if isinstance(listed, list) else ():
                if len(subject) > LONGEST_NAME or not re.fullmatch(self.subject_pattern, subject):
                    raise ValueError(
                        f"splits.subjects.{split}: {subject[:60]!r} is no id by subject_pattern "
                        f"{self.subject_pattern}"
                    )

    @classmethod
    def load(cls, name_or_path: str | Path) -> Catalog:
        """The catalog that comes with simdata under a name, or that of a YAML file.

        Raises
        ------
        UserError
            If there is none, or it is not valid; every fault is listed with its key.
        """
        return load(name_or_path)[0]

    def __repr__(self) -> str:
        return f"Catalog({self.name!r}, movies={len(self.movies)})"

    @property
    def volumes(self) -> int:
        """Length of the ``second`` axis: the longest run."""
        return max(movie.volumes for movie in self.movies)

    @property
    def segment_names(self) -> list[str]:
        """Flag meanings of ``segment``: rest first, then clips in order of appearance."""
        names = dict.fromkeys(segment.name for movie in self.movies for segment in movie.segments)
        return [REST, *(name for name in names if name != REPEAT), REPEAT]


def parse(text: str, origin: str) -> Catalog:
    """Validate the text of a catalog; ``origin`` names it in messages.

    Raises
    ------
    UserError
        If the text is not YAML, or keys are unknown, missing or of the wrong type; every fault
        is listed with its key.
    """
    data = parse_yaml(text, origin)
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {type(data).__name__}, no keys"
        raise UserError(f"{origin} is not a valid catalog: it {what}; see `simdata catalog show demo`")
    return validate(Catalog, data, f"{origin} is not a valid catalog")


def shipped() -> dict[str, str]:
    """Name -> text of the catalogs that come with simdata."""
    entries = sorted(files("simdata.catalogs").iterdir(), key=lambda entry: entry.name)
    return {e.name.removesuffix(".yaml"): e.read_text() for e in entries if e.name.endswith(".yaml")}


def text_of(catalog: Catalog) -> str:
    """A catalog as YAML, with the keys that were given."""
    return yaml.safe_dump(
        catalog.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True
    )


def load(name_or_path: str | Path) -> tuple[Catalog, str]:
    """A catalog and its text, by the name of a shipped one or by the path of a YAML file."""
    path, name_or_path = Path(name_or_path), str(name_or_path)
    known = shipped()
    if name_or_path in known:
        return parse(known[name_or_path], f"catalog {name_or_path}"), known[name_or_path]
    if path.suffix.lower() in (".yaml", ".yml") and is_there(path):
        text = read_text(path)
        return parse(text, str(path)), text
    raise UserError(
        f"no catalog {name_or_path!r}: give the path of a .yaml file or one of {', '.join(known)}"
    )
