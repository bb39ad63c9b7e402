"""Fixtures that several floors share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from tests.tiny_model import write_tiny_model
from toco.service.one_machine.embedded import EmbeddedServer

SAMPLES = Path(__file__).parents[1] / "samples"

# The same examples each time, on however slow a machine.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of the shared service run in one process, which starts it: to start another takes ten seconds."""
    for item in items:
        if "live" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("live"))


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests, and the programs that they start and kill, put into a cache or leave lying goes with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)  # found anew
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for the whole session; tests keep apart by flushing or by their own job ids."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: three small blocks, random weights, four classes with VOC's indices and synonyms."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four photos of 48 x 64 pixels, one of them broken, one in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "farm").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "farm/c.jpg"):
        blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        blocks.resize((64, 48), Image.Resampling.NEAREST).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    return folder
