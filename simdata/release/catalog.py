"""Catalogs: what a movie-watching data set contains, as validated YAML.

A catalog names the movies, their runs, segments and files; it holds no path of a machine. Times
are in seconds from the start of the film, intervals are half-open ``[start, stop)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simdata.release.bids_names import BidsSelection, check_template
from simdata.release.clean_rule import NOTHING, Clean
from simdata.release.patterns import LONGEST_NAME, check_bold, check_films, check_glob, check_regex
from simdata.release.play_rules import PlayRule, Plays, as_plays, as_rules
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
    """A stretch of the film that is one clip."""

    name: Name
    start: Seconds
    stop: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop <= self.start:
            raise ValueError(f"stop ({self.stop}) must be after start ({self.start})")
        return self


def _entities(wanted: dict[str, Any]) -> dict[str, Any]:
    BidsSelection(wanted)
    return wanted


Patterns = Annotated[
    list[Annotated[str, AfterValidator(check_bold)]], Field(min_length=1), AfterValidator(distinct)
]
Entities = Annotated[dict[str, Any], AfterValidator(_entities)]
Count = Annotated[int, Field(gt=0, le=MOST_SECONDS)]


class Movie(Strict):
    """One movie: its stimulus file, and the runs in which it was shown.

    ``video`` is a glob, below the movies folder, of the film, or of its sound where it has no pictures, and
    ``transcript`` one of the words that are said in it. ``volumes`` is the number of TRs that every run has,
    where all have the same; ``seconds`` the length of the movie's axis. Without either, that is the film's
    length. Without ``segments`` all of it is one clip, which is called as the movie. The clip that all movies
    repeat is the segment named ``test-retest``. ``plays`` has a rule for each scan of the movie, in their
    order, in place of the catalog's.
    """

    name: Name
    volumes: Count | None = None
    seconds: Count | None = None
    phase_encoding: Annotated[str, AfterValidator(_name_part)] = ""
    session: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    video: Annotated[str, AfterValidator(check_glob)]
    transcript: Annotated[str, AfterValidator(check_glob)] | None = None
    segments: list[Segment] | None = None
    plays: Annotated[list[PlayRule], BeforeValidator(as_rules), Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _segments_in_run(self) -> Self:
        end = 0
        for segment in self.segments or []:
            if segment.name == REST:
                raise ValueError("rest is what no segment covers: do not list it")
            if segment.start < end:
                raise ValueError(f"segment {segment.name} starts before the one before it ends")
            end = segment.stop
        if self.segments is None and self.name == REST:
            raise ValueError("rest is what no segment covers: give the movie another name, or segments")
        if self.segments and self.has_length and end > self.length:
            last, unit = self.segments[-1].name, "seconds" if self.seconds else "volumes"
            raise ValueError(f"segment {last} ends at {end}, after the run's {self.length} {unit}")
        return self

    @property
    def has_length(self) -> bool:
        """Whether the length of the movie's axis is known without its film."""
        return (self.seconds or self.volumes) is not None

    @property
    def length(self) -> int:
        """Seconds of the movie's axis.

        Raises
        ------
        ValueError
            If it is the film's length, and the catalog was not given that (`Catalog.with_lengths`).
        """
        found = self.seconds or self.volumes
        if found is None:
            raise ValueError(f"the length of {self.name} is that of its film, which is not known here")
        return found

    @property
    def clips(self) -> list[Segment]:
        """The segments; all of the movie is one where none are listed."""
        whole = Segment.model_construct(name=self.name, start=0, stop=self.length if self.has_length else 1)
        return [whole] if self.segments is None else self.segments


class Catalog(Strict):
    """A data set: see ``catalogs/hcp7t-movie.yaml`` for a complete one.

    ``bold`` lists path patterns below the source folder, best first; ``{subject}``, ``{movie}``,
    ``{phase_encoding}`` and ``{session}`` are filled in, ``{run}`` may be anything, and ``{hemisphere}``
    makes two files one scan. Or it says by BIDS entities which files to take; then ``movie`` and ``repeat``
    are templates over the entities of a scan. ``subject_pattern`` is what a subject's id looks like.

    Parameters
    ----------
    name, title, reference, tr, mesh, stimulus_lag, bold, movie, repeat, subject_pattern, plays, films
    transcripts, movies, clean, splits
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
    tr: Annotated[Number, Field(gt=0, le=100)] | None = None
    mesh: Literal["164k", "fsaverage7"] | None = None
    stimulus_lag: Seconds
    bold: Annotated[
        Annotated[Patterns, Tag("<patterns>")] | Annotated[Entities, Tag("<entities>")],
        Discriminator(lambda given: "<entities>" if isinstance(given, dict) else "<patterns>"),
    ]
    movie: Annotated[str, AfterValidator(check_template)] | None = None
    repeat: Annotated[str, AfterValidator(check_template)] | None = None
    subject_pattern: Annotated[str, AfterValidator(check_regex)] = ".+"
    plays: Annotated[Plays, BeforeValidator(as_plays)] = Plays()
    films: Annotated[str, AfterValidator(check_films)] | None = None
    transcripts: Annotated[str, AfterValidator(check_films)] | None = None
    movies: Annotated[list[Movie], Field(default_factory=list, validate_default=True)]
    clean: Clean = NOTHING
    splits: Splits = Splits()
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _each_has_a_film(cls, data: Any) -> Any:
        """Fill ``films`` in as the film of each movie that has no ``video``, and so its transcript."""
        if not isinstance(data, dict) or not isinstance(data.get("movies"), list):
            return data
        for every, own in (("films", "video"), ("transcripts", "transcript")):
            template = data.get(every)
            if not isinstance(template, str) or template.count("{movie}") != 1:
                continue
            movies = [
                {**movie, own: template.replace("{movie}", str(movie["name"]))}
                if isinstance(movie, dict) and "name" in movie and own not in movie
                else movie
                for movie in data["movies"]
            ]
            data = {**data, "movies": movies}
        return data

    @field_validator("movies")
    @classmethod
    def _some(cls, movies: list[Movie], given: ValidationInfo) -> list[Movie]:
        """A BIDS tree names the movies itself, where ``films`` says where each one's film is."""
        if not movies and not (isinstance(given.data.get("bold"), dict) and given.data.get("films")):
            raise ValueError("list at least one movie")
        return movies

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_lengths()
        self._check_files()
        names = [movie.name for movie in self.movies]
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError(f"movie names must differ, not only in upper and lower case: {names[:20]}")
        self._check_splits(self.splits)
        return self

    def _check_lengths(self) -> None:
        """Raise a ValueError where ``volumes`` are no seconds, and an axis would have to be as long."""
        for position, movie in enumerate(self.movies):
            if movie.volumes and not movie.seconds and self.tr != 1.0:
                raise ValueError(
                    f"movies[{position}].volumes: counts volumes of 1 s where tr is 1.0; give `seconds`, the "
                    "length of the movie, or neither for that of its film"
                )

    def _check_files(self) -> None:
        """Raise a ValueError where patterns do not tell movies apart, or take what movies lack."""
        if self.is_bids and self.movie is None:
            raise ValueError('movie: say by entities what was shown in a scan, such as "{task}"')
        if not self.is_bids and (self.movie or self.repeat):
            raise ValueError("movie and repeat: are for `bold` by BIDS entities, not for patterns")
        told = len(self.movies) == 1 or self.plays.table or (self.plays.events and self.plays.events.movie)
        for pattern in self.patterns:
            if "{movie}" not in pattern and not told:
                raise ValueError(
                    f"bold pattern must contain {{subject}} and {{movie}}: {pattern} (or `plays` must "
                    "say what was shown in each scan)"
                )
            lacking = [movie.name for movie in self.movies if not movie.phase_encoding]
            if "{phase_encoding}" in pattern and lacking:
                raise ValueError(f"{lacking[0]} has no phase_encoding, and the bold pattern {pattern} has")

    def _check_splits(self, splits: Splits) -> None:
        """Raise a ValueError unless ids are ids of this data set, and clips its clips."""
        for split, listed in splits.subjects.lists.items():
            for subject in listed:
                if len(subject) > LONGEST_NAME or not re.fullmatch(self.subject_pattern, subject):
                    raise ValueError(
                        f"splits.subjects.{split}: {subject[:60]!r} is no id by subject_pattern "
                        f"{self.subject_pattern}"
                    )
        if self.is_bids and self.films:  # other movies join, of what the tree has
            return
        clips = {segment.name for movie in self.movies for segment in movie.clips}
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

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever their files lie."""
        return isinstance(other, Catalog) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        return f"Catalog({self.name!r}, movies={len(self.movies)})"

    def with_lengths(self, lengths: Mapping[str, int]) -> Catalog:
        """The same, with lengths (s) by the names of movies, for those that it gives none."""
        movies = [
            movie
            if movie.has_length or movie.name not in lengths
            else movie.model_copy(update={"seconds": int(lengths[movie.name])})
            for movie in self.movies
        ]
        return self.model_copy(update={"movies": movies})

    @property
    def is_bids(self) -> bool:
        """Whether ``bold`` says by BIDS entities which files to take."""
        return isinstance(self.bold, dict)

    @property
    def patterns(self) -> list[str]:
        """``bold``, where it is patterns of paths."""
        return self.bold if isinstance(self.bold, list) else []

    @property
    def folder(self) -> Path | None:
        """Where its file lies, if it was read from one."""
        return self._folder

    @property
    def seconds(self) -> int:
        """Length of the ``second`` axis: that of the longest movie."""
        return max(movie.length for movie in self.movies)

    @property
    def films_of_movies(self) -> list[str]:
        """For each movie, the first one of the same ``video``: several may be one film, seen again."""
        first: dict[str, str] = {}
        return [first.setdefault(movie.video, movie.name) for movie in self.movies]

    @property
    def segment_names(self) -> list[str]:
        """Flag meanings of ``segment``: rest first, then clips in order of appearance."""
        names = dict.fromkeys(segment.name for movie in self.movies for segment in movie.clips)
        return [REST, *(name for name in names if name != REPEAT), REPEAT]


def parse(text: str, origin: str, folder: Path | None = None) -> Catalog:
    """Validate the text of a catalog, which lies in ``folder``; ``origin`` names it in messages.

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
    catalog = validate(Catalog, data, f"{origin} is not a valid catalog")
    catalog._folder = folder
    return catalog


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
        return parse(text, str(path), path.parent), text
    raise UserError(
        f"no catalog {name_or_path!r}: give the path of a .yaml file or one of {', '.join(known)}"
    )
