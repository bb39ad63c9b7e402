"""Virtual environments of programs whose requirements do not fit ours, made when missing and kept between runs."""

import fcntl
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

LABEL_STUDIO = "1.23.2"
CACHE = Path(os.environ.get("TOCO_TEST_CACHE", Path.home() / ".cache" / "toco-tests"))


def environment(name: str, *packages: str, shared: bool = False) -> Path:
    """Return the Python of an environment that has some packages; installing takes minutes, once.

    Packages are kept once: pip's own cache would hold them again, and what it unpacks lies inside the environment, so
    that an installation which was killed is swept away with it.

    Args:
        name: of its folder; holds the version, so that another version is another environment.
        packages: as pip takes them.
        shared: it has this one's libraries (torch) in place of its own.
    """
    home = CACHE / name
    python = home / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of several files share one, and run at the same time
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            unpacked = home / "unpacked"
            unpacked.mkdir()
            install = [python, "-m", "pip", "install", "-q", "--no-cache-dir", *(["--no-deps"] * shared), *packages]
            subprocess.run(install, check=True, env=os.environ | {"TMPDIR": str(unpacked)})
            shutil.rmtree(unpacked)
            (home / "ready").touch()
        if shared:
            (site,) = (home / "lib").glob("python*/site-packages")
            (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def label_studio() -> Path:
    """Return the Python of Label Studio's environment, which has its SDK too."""
    return environment(f"label-studio-{LABEL_STUDIO}", f"label-studio=={LABEL_STUDIO}")
