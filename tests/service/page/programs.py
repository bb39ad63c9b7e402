"""Other programs that the page's tests run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "service" / "page"
_BIN = Path(sys.executable).parent  # Node.js lies beside Python: the extra `dev` brings it


def run(*command: str, **options: Any) -> None:
    """Run a command; a failure shows what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def node(program: str, *arguments: str) -> None:
    """Run `npm` or `npx` in the front end's folder."""
    path = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
    run(str(_BIN / program), *arguments, cwd=PAGE, env={**os.environ, "PATH": path})
