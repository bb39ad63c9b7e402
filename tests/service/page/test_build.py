"""What is committed as built is what the sources build."""

from pathlib import Path

import pytest

from tests.service.page.programs import PAGE, node


@pytest.mark.slow
def test_the_committed_build_is_that_of_the_sources(node_modules, tmp_path):
    node("npx", "vite", "build", "--outDir", str(tmp_path), "--emptyOutDir")
    assert contents(tmp_path) == contents(PAGE / "dist"), "run `npm ci && npm run build` in service/page, and commit"


@pytest.mark.slow
def test_types_and_format_pass(node_modules):
    node("npm", "run", "check")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
