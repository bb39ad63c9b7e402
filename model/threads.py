"""How many processor threads a process takes, and that they yield while they wait. Knows no torch: it goes first.

By default the threads of OpenMP, on which torch computes, spin while they wait for one another: beside other busy
processes each round then lasts as long as the slowest of them is kept from its core. Passive threads sleep instead.
The runtime of OpenMP reads this once, when torch loads it.

References:
    OpenMP 5.2, section 21.7 (OMP_WAIT_POLICY); cgroups(7), `cpu.max` and `cpu.cfs_quota_us`.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUPS: Final = Path("/proc/self/cgroup")

_PASSIVE: Final = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}  # of GNU's and Intel's or LLVM's runtime
_COUNT: Final = "OMP_NUM_THREADS"


def cores(groups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return how many cores this process may keep busy: those it is bound to, and no more than its quota.

    Of a quota that is no whole number the part is left out: threads beyond it would all be stopped for a while, each
    period anew. It is a core at least.

    Args:
        groups: where the control groups of Linux are mounted.
        own: the file that says in which of them this process is.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota(groups, own)
    return bound if quota is None else max(1, min(bound, int(quota)))


def processor_quota(groups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """Return how many cores' time the control groups of this process allow, or None where nothing is said.

    Args:
        groups: where the control groups are mounted.
        own: lines `number:controllers:/path`, no controllers in version 2.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return None  # no Linux
    quotas = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = groups / controllers if controllers else groups
        place = base / path.strip("/")
        # A container sees its own group at the root, whatever its path; a limit of any parent holds as well.
        for folder in (place, *place.parents):
            quotas.append(_quota_of(folder))
            if folder == base:
                break
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(folder: Path) -> float | None:
    try:
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text("utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text("utf-8")
            period = (folder / "cpu.cfs_period_us").read_text("utf-8")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # not there; or `max`
        return None


def share_the_processor(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the threads of this process, and of those that it starts, yield while they wait; before torch is loaded.

    What the environment says already stays as it is.

    Args:
        environment: of the process.
    """
    for name, value in (_PASSIVE | {_COUNT: str(cores())}).items():
        environment.setdefault(name, value)


def threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many threads compute: what `OMP_NUM_THREADS` says, or else a thread a core (see `cores`).

    Args:
        environment: of the process.
    """
    said = environment.get(_COUNT, "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) else cores()
