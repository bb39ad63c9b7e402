"""The note that `toco up` leaves in its data folder, so that `toco keys` and `toco jobs` find it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from toco.jobs.settings import Settings, load_settings

NOTE: Final = "up.json"


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that runs on this machine.

    Attributes:
        pid: of the supervisor.
        url: of the API.
        redis_url: of its records, password included.
    """

    pid: int
    url: str
    redis_url: str

    def write(self, data_dir: Path) -> None:
        """Leave the note, readable by its owner only."""
        path = data_dir / NOTE
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), "utf-8")


def running_service(data_dir: Path) -> RunningService | None:
    """Return the service that runs from a data folder, or None."""
    try:
        found = RunningService(**json.loads((data_dir / NOTE).read_text("utf-8")))
        os.kill(found.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return found


def local_settings(**overrides: Any) -> Settings:
    """Read the settings; where no broker is named, the one of a running `toco up` serves.

    Raises:
        InvalidSettings
    """
    settings = load_settings(**overrides)
    if "redis_url" in settings.model_fields_set:
        return settings
    running = running_service(settings.data_dir)
    return load_settings(**(overrides | {"redis_url": running.redis_url})) if running else settings
