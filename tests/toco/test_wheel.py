"""What is installed is `toco` alone: no user's `model.py` hides it, and it hides nobody's."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FLOORS = ("jobs", "model", "service", "workers")
OWN = "raise ImportError('a name of the folder was taken for a name of toco')\n"


def run(*command, cwd, **environment):
    found = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def build(kind, source, out):
    """Build a wheel or an sdist as a build front end does; return its path."""
    program = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
    out.mkdir(exist_ok=True)
    return out / run(sys.executable, "-c", program, f"build_{kind}", out, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A checkout whose page has been built: with its sources, and packages of npm, one of which has Python in it."""
    checkout = tmp_path_factory.mktemp("build") / "checkout"
    checkout.mkdir()
    for name in ("toco", *FLOORS, "tests"):
        shutil.copytree(
            ROOT / name, checkout / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
        )
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    module = checkout / "service" / "page" / "node_modules" / "gyp" / "build.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    return checkout


@pytest.fixture(scope="module")
def wheel(checkout) -> Path:
    return build("wheel", checkout, checkout.parent / "out")


@pytest.fixture(scope="module")
def sdist(checkout) -> Path:
    return build("sdist", checkout, checkout.parent / "out")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that the wheel is installed to."""
    target = tmp_path_factory.mktemp("site-packages")
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target")
    run(sys.executable, "-m", "pip", "install", *options, target, wheel, cwd=target)
    return target


@pytest.fixture
def research(tmp_path, samples) -> Path:
    """A research folder with names of its own like those of our floors, and photos."""
    for name in ("model.py", "service.py", "jobs.py"):
        (tmp_path / name).write_text(OWN)
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text(OWN)
    shutil.copytree(samples, tmp_path / "samples")
    return tmp_path


def names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_toco_and_its_description_alone(wheel):
    assert {name.partition("/")[0] for name in names(wheel)} == {"toco", "toco_labeler-0.1.0.dist-info"}
    assert {
        "toco/py.typed",
        "toco/model/weights/default/weights.safetensors",
        "toco/model/weights/default/MODEL_CARD.md",
        "toco/service/page/dist/index.html",
    } <= names(wheel)


def test_the_page_is_in_it_as_built_without_its_sources(wheel):
    page = {name.split("/")[3] for name in names(wheel) if name.startswith("toco/service/page/")}
    assert page == {"dist"}


def test_every_module_of_the_floors_is_in_it(wheel):
    modules = {f"toco/{path.relative_to(ROOT)}" for floor in FLOORS for path in (ROOT / floor).rglob("*.py")}
    assert {name for name in modules if "/node_modules/" not in name} <= names(wheel)


def test_the_sdist_builds_the_same_wheel_and_holds_no_tests(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert {path.name for path in source.iterdir() if path.is_dir()} == {"toco", "toco_labeler.egg-info"}
    assert names(build("wheel", source, tmp_path / "out")) == names(wheel)


def test_labelling_in_a_folder_with_the_same_names(installed, research):
    command = (sys.executable, "-m", "toco", "label", "samples", "--tags", "samples/tags.csv", "--out", "labels")
    said = run(*command, "--preset", "fast", "--no-crf", cwd=research, PYTHONPATH=str(installed))
    assert said.startswith("5 labelled, 0 finished before, 0 skipped, 0 failed")
    masks = research / "labels" / "voc" / "SegmentationClass"
    cat, horses = (set(np.unique(Image.open(masks / f"{name}.png"))) - {0, 255} for name in ("cat", "horses"))
    assert (cat, horses) == ({8}, {13})


def test_the_names_of_the_package_in_such_a_folder(installed, research):
    program = "import toco; from toco import AsyncClient, Client, Labeler; print(toco.__file__)"
    said = run(sys.executable, "-c", program, cwd=research, PYTHONPATH=str(installed))
    assert Path(said.strip()) == installed / "toco" / "__init__.py"


def test_the_command_is_installed(installed, research):
    assert "ships with" in run(installed / "bin" / "toco", "models", cwd=research, PYTHONPATH=str(installed))
