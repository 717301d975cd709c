"""Splits by themselves, beside those of a catalog: files, lists of ids, and those that come with simdata.

A file has the keys of a catalog's ``splits``. A set of subjects may be ``{file: ids.txt}`` there: a text with
an id a line, beside the file. What the file leaves out, ``subjects`` or ``scenes``, stays as a store has it.
Those that leave a movie out are made by their name, ``leave-out:MOVIE3`` or ``leave-out:MOVIE3,val=MOVIE1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from simdata.common.errors import UserError
from simdata.common.fetched import is_there
from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text
from simdata.release.splits import PARTS, Splits

SplitsLike = str | PathLike[str] | Mapping[str, Any] | Splits
MAPPING = "`splits`"  # what a mapping is called in messages
LEAVE_OUT, LEAVE_OUT_FORM = "leave-out:", "leave-out:MOVIE[,val=MOVIE]"


def load_splits(given: SplitsLike) -> Splits:
    """Splits by the name of shipped ones, by the path of a YAML file, or as a mapping of the same form.

    Raises
    ------
    UserError
        If there are none, or they are not valid; every fault is listed with its key.
    """
    if isinstance(given, Splits):
        return given
    if isinstance(given, Mapping):
        return _valid(dict(given), Path(), MAPPING)
    if str(given).startswith(LEAVE_OUT):
        return _leave_out(str(given))
    file = found_file(given)
    return _valid(parse_yaml(read_text(file), str(file)), file.parent, str(file))


def _leave_out(name: str) -> Splits:
    """Whole movies: one tests, one may validate, the others train."""
    test, comma, val = name.removeprefix(LEAVE_OUT).partition(",")
    key, _, validating = val.partition("=")
    if not test or (comma and (key != "val" or not validating)):
        raise UserError(f"no splits {name!r}: write {LEAVE_OUT_FORM}")
    movies = {"test": [test]} | ({"val": [validating]} if comma else {})
    return validate(Splits, {"scenes": {"movies": movies}}, f"{name} is not valid")


def text_as_given(given: str | PathLike[str]) -> str:
    """The text of a file of splits, of those that simdata has, or of those that a name makes."""
    if str(given).startswith(LEAVE_OUT):
        return text_of(load_splits(given))
    return read_text(found_file(given))


def name_of(given: SplitsLike) -> str:
    """What splits are called in a store: their name, or that of their file; no path of a machine."""
    return "given" if isinstance(given, Mapping | Splits) else Path(given).name


def place_of(given: SplitsLike) -> str:
    """What splits are called in messages: their name, the path of their file, or the parameter."""
    return MAPPING if isinstance(given, Mapping | Splits) else str(given)


def found_file(name_or_path: str | PathLike[str]) -> Path:
    """The file of shipped splits, or a YAML file of the user's."""
    path, known = Path(name_or_path), shipped()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    if path.suffix.lower() in (".yaml", ".yml") and is_there(path):
        return path
    raise UserError(
        f"no splits {str(name_or_path)!r}: give the path of a .yaml file or one of "
        f"{', '.join([*known, LEAVE_OUT_FORM])}"
    )


def shipped() -> dict[str, Path]:
    """Name -> file of the splits that come with simdata."""
    folder = Path(str(files("simdata.catalogs"))) / "splits"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)}


def descriptions() -> dict[str, str]:
    """Name -> a line on what it is, of all that a name stands for."""
    shown = {name: read_text(file).splitlines()[0].removeprefix("# ") for name, file in shipped().items()}
    rule = "A whole movie tests, in any data set, and one may validate: no film of theirs is trained on."
    return shown | {LEAVE_OUT_FORM: rule}


def text_of(splits: Splits) -> str:
    """Splits as YAML, without references to other files."""
    return yaml.safe_dump(splits.as_json(), sort_keys=False)


def _valid(data: Any, folder: Path, origin: str) -> Splits:
    if not (isinstance(data, dict) and data):
        raise UserError(
            f"{origin}: holds no splits, which have the keys {' and '.join(PARTS)}; see `simdata splits show`"
        )
    subjects = data.get("subjects")
    if isinstance(subjects, Mapping):
        data = data | {"subjects": {key: _listed(value, folder) for key, value in subjects.items()}}
    return validate(Splits, data, f"{origin} is not valid")


def _listed(value: Any, folder: Path) -> Any:
    """The ids in a file, if that is what stands for a set of subjects."""
    if not (
        isinstance(value, Mapping) and value.keys() == {"file"} and isinstance(value["file"], str | Path)
    ):
        return value
    file = folder / value["file"]
    try:
        lines = [line.strip() for line in read_text(file).splitlines()]
    except FileNotFoundError:
        raise UserError(f"{file}: is not there; paths in splits are from their own folder") from None
    return [line for line in lines if line and not line.startswith("#")]
