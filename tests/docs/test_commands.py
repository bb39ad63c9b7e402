"""Every command in the documentation is one that there is, and every block of commands is run by a named test."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from tests.service.test_documentation import PAGES
from toco.service.cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {
    "README.md": "tests/service/cli/test_label.py",  # the folder without a server; `make run` and `make test` are CI's
    "docs/cvat.md": "tests/service/cvat/test_cvat.py",
    "docs/label-studio.md": "tests/service/label_studio/test_command.py",
    "docs/operations.md": "tests/service/test_operations.py",
    "docs/training.md": "tests/service/cli/test_train.py",
}
"""Pages whose commands need a tool, hours or a machine of their own, and the test that runs the like of them."""


def commands(text: str) -> Iterator[str]:
    """Yield the `toco` commands of blocks and of the text."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        lines = block.replace("\\\n", " ")
        for line in (*re.findall(r"\$\(([^)]*)\)", lines), *re.sub(r"\$\([^)]*\)", "X", lines).splitlines()):
            for part in re.findall(r"(?:^|[|;=] *)toco ([^|;#>]+)", line.strip()):
                yield part.strip()
    for inline in re.findall(r"`toco ([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield " ".join(inline.split())


COMMANDS = sorted({command for path in DOCUMENTS for command in commands(path.read_text("utf-8"))})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_options_are_there(command):
    words = [word for word in shlex.split(command.replace("|", " ")) if word != "..."]
    found: Any = get_command(app)
    context = typer.Context(found, info_name="toco")
    while hasattr(found, "resolve_command") and words and not words[0].startswith("-"):
        name, found, words = found.resolve_command(context, words)
        context = typer.Context(found, parent=context, info_name=name)
    known = {name for option in found.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    if found.context_settings.get("ignore_unknown_options"):
        return
    asked = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert asked <= known


def test_pages_with_commands_are_run_or_say_by_what():
    with_commands = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS if "```sh" in path.read_text("utf-8")}
    run = {path.relative_to(ROOT).as_posix() for path in PAGES}
    assert with_commands == (with_commands & run) | ELSEWHERE.keys()
    assert all((ROOT / test).exists() for test in ELSEWHERE.values())


def test_modules_that_are_run_are_there():
    text = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    modules = set(re.findall(r"python -m ((?:benchmarks|tests)\.[\w.]+)", text))
    assert modules
    assert [name for name in modules if find_spec(name) is None] == []
