"""A first catalog of a BIDS tree: what it holds, as YAML, and what its user has to decide, as comments."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from simdata.bold.formats import endings, open_run
from simdata.bold.parcel_series import DELIMITERS
from simdata.common.errors import UserError
from simdata.common.hdf5 import ENDINGS
from simdata.release.bids_names import EXTENSION, OF_SCANS, SESSION, SUFFIX
from simdata.release.bids_outline import Outline, Sighting, distinct_values, outline
from simdata.release.bids_tree import DERIVATIVES

# Of products that are there of as many scans, the one that is taken: by space and density.
PREFERRED = (("fsLR", "170k"), ("fsLR", "91k"), ("fsLR", None), ("fsaverage6", None), ("fsaverage", None))
LOOKED_AT = 12  # files whose headers are read, of all tasks
LISTED = 8  # tasks, or products, in a comment
REST = re.compile("rest(ing)?([0-9]*|state)", re.IGNORECASE)
NO_SURFACE = (*DELIMITERS, *ENDINGS)  # tables and HDF5, which in a BIDS tree are much that is no BOLD
MOST_TASKS = 30  # that are listed in `bold`


def draft_catalog(folder: Path) -> str:
    """The text of a first catalog of the BIDS tree in a folder.

    Raises
    ------
    UserError
        If it is no BIDS tree, is raw, or has no surface that can be read; with fMRIPrep's command.
    """
    found = outline(folder, [ending for ending in endings() if ending not in NO_SURFACE])
    product = max(found.products, key=lambda one: (len(found.products[one]), -_rank(found, one), one))
    tasks = found.by_task(product)
    films = {task: scans for task, scans in tasks.items() if not REST.fullmatch(task)} or tasks
    lines = [
        f"# {len(found.subjects)} subjects in {found.tree.below or 'the tree'}; decide where a comment asks.",
        f"name: {_name(found.tree.root)}",
        f"title: {_title(found.tree.root)}",
        "stimulus_lag: 6  # s, a hint to training",
        "",
        *_bold(found, product, tasks, films),
        *_movies(films),
        *_clock(films),
        *_plays(films),
        "",
        *_splits(found.subjects),
    ]
    return "\n".join(lines) + "\n"


def _rank(found: Outline, product: str) -> int:
    entities = found.products[product][0].name.entities
    place = entities.get("space", ""), entities.get("den")
    return PREFERRED.index(place) if place in PREFERRED else len(PREFERRED)


def _bold(
    found: Outline, product: str, tasks: Mapping[str, Sequence[Sighting]], films: Mapping[str, object]
) -> Iterator[str]:
    """Which files to take, and which there are besides."""
    others = [one for one in found.products if one != product]
    if others:
        yield "# There is also:"
        for one in others[:LISTED]:
            yield f"#   {one}, of {len(found.products[one])} scans"
    entities: dict[str, Any] = _selecting(found, product)
    if len(films) < len(tasks) and len(films) <= MOST_TASKS:
        yield f"# Left out: {', '.join(task for task in tasks if task not in films)}."
        entities["task"] = list(films)
    flow = yaml.safe_dump(entities, default_flow_style=True, sort_keys=False, width=10**6)
    yield f"bold: {flow.strip()}"


def _selecting(found: Outline, product: str) -> dict[str, Any]:
    """The entities that take a product, and no other one that is there."""
    name = found.products[product][0].name
    wanted: dict[str, Any] = {k: v for k, v in name.entities.items() if k not in (*OF_SCANS, "hemi")}
    wanted[SUFFIX] = name.suffix or None
    others = [scans[0].name for other, scans in found.products.items() if other != product]
    for other in others:
        if all(other.parts.get(key) == value for key, value in wanted.items()):
            extra = [key for key in other.entities if key not in (*OF_SCANS, "hemi", *wanted)]
            wanted |= dict.fromkeys(extra) if extra else {EXTENSION: name.extension}
    return wanted


def _movies(films: Mapping[str, Sequence[Sighting]]) -> Iterator[str]:
    """What names a film, what its runs are, and where its file is."""
    for task, scans in list(films.items())[:LISTED]:
        subjects = len({one.name.entities["sub"] for one in scans})
        yield f"# task-{task}: {len(scans)} scans of {subjects} subjects{_of_several(scans)}"
    if len(films) > LISTED:
        yield f"# and {len(films) - LISTED} more tasks"
    yield 'movie: "{task}"  # what names the film of a scan: entities of file names'
    if any(len(distinct_values(scans, "run")) > 1 for scans in films.values()):
        yield "# Are the runs of a task parts of a film? Then `plays` says where each goes on (docs)."
        yield '# Are they films of their own? Then movie: "{task}_run-{run}". The same film again? Then add'
        yield '# repeat: "{run}"'
    yield 'films: "{movie}*"  # below the folder of films: change it to what their files are called'


def _of_several(scans: Sequence[Sighting]) -> str:
    said = ""
    for entity in (SESSION, "run", "acq", "dir", "echo"):
        values = distinct_values(scans, entity)
        if len(values) > 1 or (values and entity == "run"):
            said += f"; {entity}-{', '.join(values[:LISTED])}" + (" ..." if len(values) > LISTED else "")
    return said


def _clock(films: Mapping[str, Sequence[Sighting]]) -> Iterator[str]:
    """TRs and lengths, of the first scans of each task."""
    each = max(1, LOOKED_AT // len(films))
    looked = [one for scans in films.values() for one in scans[:each]][:LOOKED_AT]
    times = [found for one in looked if (found := _times(one))]
    if not times:
        yield "# TR: no file that was looked at says it (are they fetched?)."
        return
    trs = Counter(f"{tr:g}" for _, tr in times)
    counts = sorted(volumes for volumes, _ in times if volumes)
    span = " to ".join(map(str, dict.fromkeys(counts[:1] + counts[-1:])))
    lengths = f"; {span} volumes" if counts else ""
    yield f"# TR {' and '.join(trs)} s{lengths}, in {len(times)} of the files."


def _times(one: Sighting) -> tuple[int, float] | None:
    """Volumes (0 if not known) and TR (s) of a scan, by its header or sidecar."""
    try:
        run = open_run(*one.files)
    except UserError:
        tr = next((tr for path in one.companions.sidecars(one.name.of_scan) if (tr := _stated(path))), None)
        return None if tr is None else (0, tr)
    return run.volumes, run.tr


def _stated(sidecar: Path) -> float | None:
    try:
        found = json.loads(sidecar.read_text())["RepetitionTime"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(found) if isinstance(found, int | float) and 0 < found < 1000 else None


def _plays(films: Mapping[str, Sequence[Sighting]]) -> Iterator[str]:
    """When films begin: by events, if there are any."""
    first = next(iter(films.values()))[0]
    table = first.companions.events(first.name.of_scan)
    if table is None:
        yield "plays: start  # film and scan begin together; else {onset: 7.3}, or a table (docs/plays.md)"
        return
    yield f"# Scans have events, such as {table.name} with the columns {_columns(table)}."
    yield "# plays: {events: {trial_type: film}}  # where they say when the film begins; else it is"
    yield "plays: start"


def _columns(table: Path) -> str:
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            return ", ".join(file.readline(2000).split())[:200] or "(none)"
    except OSError:
        return "(it cannot be read)"


def _splits(subjects: Sequence[str]) -> Iterator[str]:
    yield "splits:"
    if len(subjects) >= 10:
        yield "  subjects: {val: 0.1, test: 0.2, seed: 0}"
    elif len(subjects) >= 3:
        yield f'  subjects: {{val: ["{subjects[-2]}"], test: ["{subjects[-1]}"]}}'
    yield "  scenes:  # of each film, in its time"
    yield "    fractions: {train: [0.0, 0.6], val: [0.6, 0.8], test: [0.8, 1.0]}"
    yield "    guard: 20"


def _title(root: Path) -> str:
    """The data set's name by its description, else its folder's."""
    place = _data_set(root)
    try:
        said = json.loads((place / "dataset_description.json").read_text())["Name"]
    except (OSError, ValueError, KeyError, TypeError):
        said = None
    return json.dumps(said[:200] if isinstance(said, str) and said.strip() else place.name)


def _name(root: Path) -> str:
    return re.sub("[^A-Za-z0-9_.+-]+", "-", _data_set(root).name).strip(".-").lower() or "mine"


def _data_set(root: Path) -> Path:
    """The folder of the data set that a derivative is of."""
    place = root.resolve()
    return place.parent.parent if place.parent.name == DERIVATIVES else place
