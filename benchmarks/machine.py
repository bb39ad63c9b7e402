"""What a benchmark ran on: date, commit, machine and versions."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch", "timm", "numpy", "numba", "pydensecrf2", "celery", "redis")


def provenance() -> dict[str, Any]:
    """Return the date (UTC), the commit (with `+` if files differ from it), the processor and the versions used."""
    commit = commit_of(ROOT)
    changed = _git(ROOT, "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": f"{commit}{'+' if changed else ''}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def commit_of(tree: Path) -> str:
    """Return the commit that a checkout stands at."""
    return _git(tree, "rev-parse", "--short", "HEAD")


def _git(tree: Path, *arguments: str) -> str:
    git = shutil.which("git") or "git"
    return subprocess.run([git, *arguments], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    """Return the processor's name as the kernel gives it; other systems say less."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
