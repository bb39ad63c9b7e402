"""The images and the compose file hold together: schema, linter, sources, commands, metrics."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.main import get_command

from toco.jobs.settings import load_settings
from toco.jobs.stats import WorkerReport
from toco.service.api.http_metrics import HttpMetrics
from toco.service.api.metrics import metrics_text
from toco.service.cli.main import app

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
OURS = {name: entry for name, entry in SERVICES.items() if entry["image"].startswith("toco-")}
COMMANDS = set(getattr(get_command(app), "commands"))  # noqa: B009 - typer's type does not tell that it is a group


def program(name: str) -> str:
    """A program of the environment that runs the tests."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not installed: make setup"
    return found


def instructions(path: Path, kind: str) -> list[str]:
    text = path.read_text("utf-8").replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{kind} ")]


def test_the_compose_file_fits_the_specification():
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_linter_finds_nothing(path):
    found = subprocess.run([program("hadolint"), str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_copies_what_is_there_and_drops_its_rights(path):
    context = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [copy.split()[:-1] for copy in instructions(path, "COPY") if not copy.startswith("--from")]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        assert source in context, f"{source} is left out by .dockerignore"
    packages = {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists()}
    assert packages & context <= {source for sources in copied for source in sources}
    assert instructions(path, "USER")[-1] not in ("0", "root")
    assert len(instructions(path, "FROM")) == 2
    assert instructions(path, "HEALTHCHECK")
    assert instructions(path, "ENTRYPOINT") == ['["toco"]']


def started() -> list[tuple[str, str]]:
    """Every command of ours that an image or the compose file starts, with where it is said."""
    found = [(path.name, json.loads(command)[0]) for path in DOCKERFILES for command in instructions(path, "CMD")]
    found += [(name, entry["command"][0]) for name, entry in OURS.items() if "command" in entry]
    for path in DOCKERFILES:
        found += [(path.name, name) for name in re.findall(r'CMD \["toco", "([\w-]+)"', path.read_text("utf-8"))]
    tests = {name: entry["healthcheck"]["test"] for name, entry in OURS.items() if "healthcheck" in entry}
    return found + [(name, test[2]) for name, test in tests.items() if test[1] == "toco"]


@pytest.mark.parametrize(("where", "command"), started())
def test_what_is_started_is_a_command(where, command):
    assert command in COMMANDS, where


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_built_from_what_is_there_with_settings_that_are_known(name):
    entry = OURS[name]
    build = entry["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    arguments = " ".join(instructions(ROOT / build["dockerfile"], "ARG"))
    assert all(f"{argument}=" in arguments for argument in build.get("args", {}))
    known = {f"TOCO_{field.upper()}" for field in load_settings(_env_file=None).model_dump()}
    assert entry["environment"].keys() <= known
    json.loads(re.sub(r"\$\{[^}]*\}", "x", entry["environment"]["TOCO_STORE_OPTIONS"]))


def test_the_queue_server_keeps_everything():
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")


def test_every_mounted_file_is_there():
    mounts = [mount.split(":")[0] for entry in SERVICES.values() for mount in entry.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert len(files) == 5
    assert all((ROOT / file).is_file() for file in files)


def test_the_dashboard_shows_figures_that_there_are():
    report = WorkerReport("w-1", ["batch"], ["m"], "cuda:0", {"allocated": 7, "reserved": 9}, {"m": 4})
    http = HttpMetrics()
    http.note(route="/v1/jobs", method="GET", status=200, seconds=0.1)
    state: Any = SimpleNamespace(
        queue=SimpleNamespace(depths=lambda: {"batch": 3}),
        records=SimpleNamespace(
            item_counts=lambda: {"done": 5},
            redis=SimpleNamespace(info=lambda _: {"used_memory": 7, "maxmemory": 0}),
        ),
        settings=load_settings(data_dir=ROOT, _env_file=None),
        stats=SimpleNamespace(
            totals=lambda: {"stage_count:network": 2.0, "stage_seconds:network": 1.5, "shards": 1.0},
            live_workers=lambda: [report],
        ),
        http=http,
    )
    text = metrics_text(state).decode()
    assert 'toco_device_memory_bytes{kind="allocated",worker="w-1"} 7.0' in text
    assert 'toco_batch_images{model="m",worker="w-1"} 4.0' in text
    assert 'toco_queue_messages{queue="batch"} 3.0' in text
    assert 'toco_items{state="done"} 5.0' in text
    dashboard = (ROOT / "docker" / "grafana" / "toco.json").read_text("utf-8")
    shown = set(re.findall(r"toco_\w+", " ".join(re.findall(r'"expr": "(.*)"', dashboard))))
    rules = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    shown |= {name for rule in rules for name in re.findall(r"toco_\w+", rule["expr"])}
    assert len(shown) > 10
    assert not [name for name in shown if f"\n{name}" not in text]
