"""What the store keeps of the files that a run or a film was made of: enough to know them again.

The record of one file has its path, size, time and hash. That of a run which is more than one file whose film
begins with the scan has those of its first file, for people, and ``parts``: for each scan the records of all
its ``files``, and its ``plays`` as [onset, film_start, duration]. A film's has that of its ``transcript``, if
words are taken of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from simdata.release.sources import FROM_START, Film, Run

Record = dict[str, Any]


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether a source is still the file that was converted: cheap to take."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)

    def as_record(self, relative: str, sha256: str) -> Record:
        """What the store keeps of a source; ``relative`` is its path below the folder that was given."""
        return {"path": relative, "size": self.size, "mtime_ns": self.mtime_ns, "sha256": sha256}


def fingerprints(source: Run | Film) -> dict[str, Fingerprint]:
    """Path below the folder that was given -> fingerprint, of each file of a source."""
    return {relative: Fingerprint.of(path) for relative, path in source.inputs.items()}


def source_record(source: Run | Film, taken: Mapping[str, Fingerprint], digests: Mapping[str, str]) -> Record:
    """The record of a source, from what `fingerprints` gave and the files' hashes, "" where not taken."""
    of_file = {
        relative: one.as_record(relative, digests.get(relative, "")) for relative, one in taken.items()
    }
    record = dict(of_file[source.relative])
    if isinstance(source, Film) and source.transcript is not None:
        (_, record["transcript"]) = of_file.values()
    if isinstance(source, Run) and not _is_one_whole_file(source):
        record["parts"] = [
            {
                "files": [of_file[relative] for relative in part.scan.inputs],
                "plays": [list(astuple(play)) for play in part.plays],
            }
            for part in source.parts
        ]
    return record


def files_of(record: Record) -> list[Record]:
    """The records of the files that a source's has, each once."""
    if "parts" not in record:
        return [record, *([record["transcript"]] if "transcript" in record else [])]
    return list({file["path"]: file for part in record["parts"] for file in part["files"]}.values())


def source_hash(record: Record) -> str:
    """What tells the content of a run from others: the hash of its file, or of all its files and plays.

    Empty if not all were hashed.
    """
    hashes = [file["sha256"] for file in files_of(record)]
    if "parts" not in record or not all(hashes):
        return hashes[0] if all(hashes) else ""
    return hashlib.sha256(json.dumps([hashes, plays_of(record)]).encode()).hexdigest()


def plays_of(record: Record) -> list[list[list[float | None]]]:
    """The plays of each scan of a run's record."""
    whole = {"plays": [list(astuple(FROM_START))]}
    return [part["plays"] for part in record.get("parts", [whole])]


def _is_one_whole_file(run: Run) -> bool:
    (first, *others) = run.parts
    return not others and first.plays == (FROM_START,) and len(first.scan.inputs) == 1
