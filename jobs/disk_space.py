"""Room on the disks of this machine that the service writes to."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from toco.jobs.settings import Settings


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Room on the disk of one folder.

    Attributes:
        volume: `store` (objects) or `data` (queue and records of `toco up`).
        free, total: in bytes.
    """

    volume: str
    free: int
    total: int


def disk_space(settings: Settings) -> list[DiskSpace]:
    """Return the room for what is kept in folders of this machine; a store elsewhere tells its own."""
    folders = {"data": settings.data_dir.expanduser()}
    store = urlsplit(settings.effective_store_url)
    if store.scheme == "file":
        folders["store"] = Path(unquote(store.path))
    found = []
    for volume, folder in sorted(folders.items()):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue  # not made yet, or away: the store itself says so
        found.append(DiskSpace(volume, usage.free, usage.total))
    return found


def running_out(found: list[DiskSpace], *, least_bytes: int) -> list[DiskSpace]:
    """Return the disks with less room than there should be."""
    return [space for space in found if space.free < least_bytes]
