"""Catalogs: what a movie-watching data set contains, as validated YAML.

A catalog names the movies, their runs, segments and files; it holds no path of a machine. Times
are in seconds from the start of the run, intervals are half-open ``[start, stop)``.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simdata.release.patterns import LONGEST_NAME, check_bold, check_glob, check_regex
from simdata.release.splits import REPEAT, Splits
from simdata.release.values import Number, Strict, distinct

MOST_SECONDS = 86_400  # of a run: a day
Seconds = Annotated[int, Field(ge=0, le=MOST_SECONDS)]
REST = "rest"


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


Name = Annotated[str, AfterValidator(_flag_word)]


class Segment(Strict):
    """A stretch of the run in which one clip is shown."""

    name: Name
    start: Seconds
    stop: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop <= self.start:
            raise ValueError(f"stop ({self.stop}) must be after start ({self.start})")
        return self


class Movie(Strict):
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


class Catalog(Strict):
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
        list[Annotated[str, AfterValidator(check_bold)]], Field(min_length=1), AfterValidator(distinct)
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
        self._check_splits(self.splits)
        return self

    def _check_splits(self, splits: Splits) -> None:
        """Raise a ValueError unless ids are ids of this data set, and clips its clips."""
        for split, listed in splits.subjects.lists.items():
            for subject in listed:
                if len(subject) > LONGEST_NAME or not re.fullmatch(self.subject_pattern, subject):
                    raise ValueError(
                        f"splits.subjects.{split}: {subject[:60]!r} is no id by subject_pattern "
                        f"{self.subject_pattern}"
                    )
        clips = {segment.name for movie in self.movies for segment in movie.segments}
        for split, named in splits.scenes.clips.items():
            if unknown := set(named) - clips:
                raise ValueError(f"splits.scenes.clips.{split}: no movie has the clips {sorted(unknown)}")
        if unknown := set(splits.scenes.clip_fractions) - clips:
            raise ValueError(f"splits.scenes.clip_fractions: no movie has the clips {sorted(unknown)}")
        movies = [movie.name for movie in self.movies]
        for split, named in splits.scenes.movies.items():
            if unknown := set(named) - set(movies):
                raise ValueError(
                    f"splits.scenes.movies.{split}: there is no movie {sorted(unknown)}; there are "
                    f"{', '.join(movies[:20])}"
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

    def with_splits(self, splits: Splits, origin: str) -> Catalog:
        """The same with other splits; a UserError, which begins with ``origin``, if they do not fit."""
        try:
            self._check_splits(splits)
        except ValueError as error:
            raise UserError(f"{origin}: not for the catalog {self.name}: {error}") from None
        return self.model_copy(update={"splits": splits})

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
