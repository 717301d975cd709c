"""Names of files by BIDS: entities, a suffix and an extension; and what a catalog says of them.

``sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii`` has the entities sub, task, space and den, the
suffix bold and the extension .dtseries.nii. The order of entities says nothing: fMRIPrep changed it between
versions.
Source: Brain Imaging Data Structure 1.9, "File naming", and its derivatives.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simdata.release.patterns import LONGEST_NAME

Entities = Mapping[str, str]

SUBJECT, SESSION, HEMISPHERE = "sub", "ses", "hemi"
# What tells one scan from another; all other entities tell apart what was made of it.
OF_SCANS = (SUBJECT, SESSION, "task", "acq", "ce", "trc", "rec", "dir", "run", "echo", "part", "chunk")
NUMBERS = ("run", "echo", "chunk", "split", "inv", "flip")  # whose values are numbers, with or without zeros
SUFFIX, EXTENSION = "suffix", "extension"
VOLUMES = (".nii", ".nii.gz")
LONG_NAMES = {
    "subject": SUBJECT,
    "session": SESSION,
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "hemisphere": HEMISPHERE,
    "density": "den",
    "resolution": "res",
    "description": "desc",
}
LABEL = "[0-9A-Za-z+]+"
_ENTITY = re.compile(rf"([A-Za-z]+)-({LABEL})")


@dataclass(frozen=True)
class BidsName:
    """What a file's name says.

    Attributes
    ----------
    entities : by their short names, in the order of the name
    suffix : such as ``bold``; empty if the name ends with an entity, as some tools write it
    extension : from the first dot on
    """

    entities: Entities
    suffix: str
    extension: str

    @property
    def of_scan(self) -> Entities:
        """The entities that tell one scan from another."""
        return {key: self.entities[key] for key in OF_SCANS if key in self.entities}

    @property
    def product(self) -> str:
        """What a file is of a scan, such as ``space-fsLR_den-91k_bold.dtseries.nii``; of both hemispheres."""
        kept = [f"{k}-{v}" for k, v in sorted(self.entities.items()) if k not in (*OF_SCANS, HEMISPHERE)]
        return "_".join(filter(None, [*kept, self.suffix])) + self.extension

    @property
    def is_volume(self) -> bool:
        """Whether a file holds the whole brain as voxels, and no surface."""
        return self.extension.lower() in VOLUMES

    @property
    def parts(self) -> dict[str, str]:
        """All that tells files apart: entities, suffix and extension."""
        return {**self.entities, SUFFIX: self.suffix, EXTENSION: self.extension}


def parse_name(name: str) -> BidsName | None:
    """A file's name by BIDS; None if it is not named so.

    Examples
    --------
    >>> parse_name("sub-01_hemi-L_space-fsaverage6_bold.func.gii").entities["space"]
    'fsaverage6'
    >>> parse_name("100610_MOVIE1.dtseries.nii") is None
    True
    """
    if len(name) > LONGEST_NAME:
        return None
    stem, dot, rest = name.partition(".")
    *words, last = stem.split("_")
    suffix = "" if _ENTITY.fullmatch(last) else last
    matches = [_ENTITY.fullmatch(word) for word in (words if suffix else [*words, last])]
    pairs = [(match[1], match[2]) for match in matches if match]
    entities = dict(pairs)
    if not pairs or len(pairs) < len(matches) or len(entities) < len(pairs) or not (suffix or dot):
        return None
    return BidsName(entities, suffix, dot + rest) if re.fullmatch("[0-9A-Za-z]*", suffix) else None


def same_value(entity: str, one: str | None, other: str | None) -> bool:
    """Whether two values of an entity are the same; numbers may have zeros in front."""
    return _comparable(entity, one) == _comparable(entity, other)


def number(value: str | None) -> int:
    """The place of a value such as a run's in an order; what has none comes first."""
    return int(value) if value and value.isdecimal() else 0


def _comparable(entity: str, value: str | None) -> str | None:
    return value.lstrip("0") or "0" if value is not None and entity in NUMBERS else value


class BidsSelection:
    """Which files a catalog's ``bold`` means, by entities.

    Parameters
    ----------
    wanted : entity -> its value, a list of values of which it has one, or None: a name without that entity.
        ``suffix`` is ``bold`` if not given, and ``extension`` what formats of BOLD read.

    Raises
    ------
    ValueError
        If something is no entity, or no value of one.

    Examples
    --------
    >>> selection = BidsSelection({"space": "fsLR", "den": "91k"})
    >>> selection.takes(parse_name("sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii"))
    True
    """

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        if not wanted:
            raise ValueError("names no entity; write for example {space: fsLR, den: 91k}")
        self.wanted = {key: _values(key, value) for key, value in wanted.items()}
        self.wanted.setdefault(SUFFIX, ("bold",))

    def takes(self, name: BidsName) -> bool:
        """Whether a file is meant, as far as its name goes and ``extension`` is given."""
        return not self.differing(name)

    def of_scan_taken(self, name: BidsName) -> bool:
        """Whether a file is of a scan that is meant, be it another product of it."""
        return not any(key in OF_SCANS for key in self.differing(name))

    def differing(self, name: BidsName) -> list[str]:
        """What is otherwise in a name than it is wanted: entities, ``suffix``, ``extension``."""
        parts = name.parts
        return [
            key
            for key, values in self.wanted.items()
            if not any(same_value(key, parts.get(key) or None, value) for value in values)
        ]

    def __str__(self) -> str:
        """Such as ``space-fsLR den-91k bold``, as messages have it."""
        words = [
            "/".join(f"no {key}" if value is None else f"{key}-{value}" for value in values)
            for key, values in self.wanted.items()
            if key not in (SUFFIX, EXTENSION)
        ]
        ends = [value or f"no {key}" for key in (SUFFIX, EXTENSION) for value in self.wanted.get(key, ())]
        return " ".join([*words, *ends])


def _values(key: str, value: object) -> tuple[str | None, ...]:
    """The values that an entity may have."""
    if key in LONG_NAMES:
        raise ValueError(f"{key}: write {LONG_NAMES[key]}, as it stands in the names of files")
    if key in (SUBJECT, HEMISPHERE):
        raise ValueError(f"{key}: leave it out; all subjects and both hemispheres are taken")
    if not re.fullmatch("[a-z]{1,20}", key):
        raise ValueError(f"{key!r:.60} is no entity of BIDS; write for example space, den, task or desc")
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise ValueError(f"{key}: is an empty list; name a value")
    return tuple(_value(key, one) for one in listed)


def _value(key: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and key in NUMBERS and value >= 0:
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{key}: {value!r:.60} is no text; write it in quotes")
    allowed = r"\.[0-9A-Za-z.]+" if key == EXTENSION else LABEL
    if not re.fullmatch(allowed, value):
        said = "a dot, letters and digits" if key == EXTENSION else "letters and digits"
        raise ValueError(f"{key}: {value!r:.60} cannot be in a name by BIDS; write {said}, without {key}-")
    return value


def check_entities(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check what a catalog says of its runs' entities; ValueError as `BidsSelection`."""
    BidsSelection(wanted)
    return wanted


def check_template(text: str) -> str:
    """Check a template over entities, such as ``{task}_run-{run}``; ValueError if it is none."""
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{text!r:.60}: {error}; write for example {{task}}") from None
    names = [name for _, name, _, _ in fields if name is not None]
    if not names:
        raise ValueError(f"{text!r:.60} names no entity; write for example {{task}} or {{task}}_run-{{run}}")
    for _, name, width, conversion in fields:
        if name is None:
            continue
        if name in LONG_NAMES:
            raise ValueError(f"{{{name}}}: write {{{LONG_NAMES[name]}}}, as it stands in the names of files")
        if not re.fullmatch("[a-z]{1,20}", name) or width or conversion:
            raise ValueError(f"{text!r:.60}: write entities as they are, such as {{task}} or {{run}}")
        if name in (SUBJECT, HEMISPHERE, SUFFIX, EXTENSION):
            raise ValueError(f"{text!r:.60}: {{{name}}} does not tell one film from another; leave it out")
    literal = "".join(text for text, _, _, _ in fields)
    if not re.fullmatch(r"[0-9A-Za-z_.@+-]*", literal):
        raise ValueError(f"{text!r:.60}: use letters, digits and _ - + @ . between entities")
    return text


def fields_of(template: str) -> list[str]:
    """The entities that a template names."""
    return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(template) if name))


def filled(template: str, entities: Entities) -> str | None:
    """A template with a name's values; None if the name lacks one of its entities."""
    if any(name not in entities for name in fields_of(template)):
        return None
    return template.format_map(dict(entities))


def differing(names: Iterable[BidsName]) -> dict[str, list[str | None]]:
    """What tells names apart: entity, ``suffix`` or ``extension`` -> its values, None where it is absent."""
    parts = [name.parts for name in names]
    keys = dict.fromkeys(key for one in parts for key in one)
    values = {key: list(dict.fromkeys(one.get(key) or None for one in parts)) for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1}
