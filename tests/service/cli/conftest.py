"""A way to run the command line in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from toco.service.cli.main import app


@pytest.fixture
def toco() -> Callable[..., Result]:
    """Runs `toco` with arguments; what is not text is turned into it."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def quick(tiny_model: Path) -> tuple[object, ...]:
    """Arguments that make labelling take no time: the tiny model at a small size."""
    return (
        "--model",
        tiny_model,
        "--device",
        "cpu",
        "--preset",
        "fast",
        "--set",
        "cam.size=64",
        "--set",
        "long_side=64",
    )
