"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path


def host_room(root: Path = Path("/")) -> int:
    """Bytes that processes like this one may still take: of the machine, and of its control groups.

    A batch system's job, or a container, is given less than the machine has by the memory limit of a control
    group (version 1 or 2), of which the machine's own figures know nothing. Where the system does not tell
    what is free (it is no Linux), this is all the machine has.

    Parameters
    ----------
    root : the folder that holds proc and sys
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    return max(0, min([available, *_group_rooms(root)]))


def _group_rooms(root: Path) -> list[int]:
    """What each control group above this process leaves it."""
    listing = root / "proc/self/cgroup"
    rooms = []
    for line in listing.read_text().splitlines() if listing.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, files = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            top, files = (
                root / "sys/fs/cgroup/memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
            )
        else:
            continue
        # In a container the path may be that of the host, where there is nothing; the top is its own group.
        group = top / path.lstrip("/")
        for above in (group, *group.parents):
            rooms += _room(above, *files)
            if above == top:
                break
    return rooms


def _room(group: Path, limit: str, usage: str, prefix: str) -> list[int]:
    """A group's limit less what it holds, but for files that the system keeps for another reading."""
    try:
        most = (group / limit).read_text().strip()
        held = int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except FileNotFoundError:
        return []
    if most == "max":
        return []
    files = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return [int(most) - held + files]
