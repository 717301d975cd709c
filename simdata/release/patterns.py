"""Path patterns of a catalog, and regular expressions that users write: what is taken, and what is safe."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import PurePosixPath
from re import _constants as sre  # type: ignore[attr-defined]  # no stubs for what re keeps to itself
from re import _parser as parser  # type: ignore[attr-defined]

HEMISPHERE = "{hemisphere}"  # of scans whose hemispheres are files of their own
FIELDS = ("subject", "movie", "phase_encoding", "session", "run", "hemisphere")
LONGEST_NAME = 255  # bytes of a file's name on usual file systems
LONGEST_REGEX = 500  # characters
MOST_STEPS = 20_000_000  # of matching one name; about a second
ASSERTIONS = {sre.AT, sre.ASSERT, sre.ASSERT_NOT, sre.GROUPREF, sre.GROUPREF_EXISTS}
REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}


def check_below(pattern: str) -> str:
    """Check that a path pattern stays below the folder that it is applied to; ValueError if not."""
    parts = pattern.split("/")
    if not pattern.strip():
        raise ValueError("is empty; write a path below the folder")
    if "\\" in pattern or "\0" in pattern:
        raise ValueError(f"{pattern!r}: write / between folders, and no \\ or NUL")
    if PurePosixPath(pattern).is_absolute() or re.match("[A-Za-z]:", pattern) or pattern.startswith("~"):
        raise ValueError(f"{pattern!r}: is absolute; write a path below the folder that is given")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{pattern!r}: may not have '..', '.' or an empty folder's name in it")
    if any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts):
        raise ValueError(f"has a name of more than {LONGEST_NAME} bytes in it, which no file has")
    return pattern


def check_glob(pattern: str) -> str:
    """Check a film's glob; ValueError if it is none, or would search whole trees."""
    check_below(pattern)
    if "**" in pattern:
        raise ValueError(f"{pattern!r}: write each folder's name or *, not **, which would search all below")
    return pattern


def check_films(pattern: str) -> str:
    """Check a pattern of all films; ValueError if it is none."""
    if pattern.count("{movie}") != 1 or "{" in pattern.replace("{movie}", ""):
        raise ValueError(f"{pattern!r}: must contain {{movie}} once, and no other field")
    check_glob(pattern.replace("{movie}", "movie"))
    return pattern


def check_bold(pattern: str) -> str:
    """Check a pattern of runs; ValueError if it is not one of plain fields."""
    check_below(pattern)
    try:
        found = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"{pattern!r}: {error}; write {{subject}}, {{movie}}, {{phase_encoding}}") from None
    for _, field, width, conversion in found:
        if field is not None and (field not in FIELDS or width or conversion):
            allowed = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(
                f"{pattern!r}: bold pattern may use only {allowed}, as they are: no other name, attribute, "
                "width or conversion"
            )
    fields = {field for _, field, _, _ in found}
    if "subject" not in fields:
        raise ValueError(f"bold pattern must contain {{subject}} and {{movie}}: {pattern}")
    if HEMISPHERE in pattern.rpartition("/")[0]:
        raise ValueError(f"{pattern!r}: {HEMISPHERE} may stand in the file's name alone, not in a folder's")
    if "{{" in pattern or "}}" in pattern:
        raise ValueError(f"{pattern!r}: braces are for fields, and cannot be in a name")
    return pattern


def check_regex(pattern: str) -> str:
    """Check a regular expression that a whole name must match, as a part of a longer one.

    Raises
    ------
    ValueError
        If it is none, refers to its place in the text, or could take very long on some name.
    """
    if len(pattern) > LONGEST_REGEX:
        raise ValueError(f"has {len(pattern)} characters, of {LONGEST_REGEX} at most")
    try:
        tree = parser.parse(pattern)
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if tree.getwidth()[1] == 0:
        raise ValueError("matches no name but an empty one")
    if tree.state.groupdict:
        raise ValueError(f"groups may have no names: write (?:...) in {pattern!r}")
    if tree.state.flags & ~sre.SRE_FLAG_UNICODE or any(op in ASSERTIONS for op, _ in _all_of(tree)):
        raise ValueError(
            f"{pattern!r}: leave out ^, $, \\b, (?=...), \\1, (?i) and the like; all of the id is matched"
        )
    if _steps(tree) > MOST_STEPS:
        raise ValueError(
            f"{pattern!r} could take very long on some names: write it without a repeat in a repeat, "
            "alternatives in a repeat, or more than three + or *"
        )
    return pattern


def _all_of(tree: parser.SubPattern) -> Iterator[tuple[int, object]]:
    """Every node of a parsed expression."""
    for op, argument in tree:
        yield op, argument
        for part in _parts(argument):
            yield from _all_of(part)


def _parts(argument: object) -> Iterator[parser.SubPattern]:
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for one in argument:
            yield from _parts(one)


def _steps(tree: parser.SubPattern) -> float:
    """An upper bound of the ways in which an expression can match a part of a name."""
    steps = 1.0
    for op, argument in tree:
        if op in REPEATS:
            least, most, body = argument
            most = min(most, LONGEST_NAME)
            ways = most - min(least, most) + 1
            inside = _steps(body)
            # A product of so many equal factors overflows soon.
            steps *= ways * (inside**most if inside == 1 or most < 50 else float("inf"))
        elif op is sre.BRANCH:
            steps *= sum(_steps(branch) for branch in argument[1])
        else:
            for part in _parts(argument):
                steps *= _steps(part)
        if steps > MOST_STEPS:
            return float("inf")
    return steps
