"""Which runtime runs the encoder: the fastest that is installed and knows the device, unless another is asked for."""

from pathlib import Path

import pytest

from toco.model import runtimes
from toco.model.runtimes import cache_folder, choose_runtime


@pytest.fixture
def installed(monkeypatch):
    def only(*packages):
        monkeypatch.setattr(runtimes, "find_spec", lambda name: object() if name in packages else None)

    return only


@pytest.mark.parametrize(
    ("device", "packages", "chosen"),
    [
        ("cpu", ("torch", "openvino"), "openvino"),
        ("cpu", ("torch",), "torch"),
        ("cuda", ("torch", "openvino"), "torch"),
        ("mps", ("torch", "openvino"), "torch"),
    ],
)
def test_by_itself_the_fastest_that_can_be_used(device, packages, chosen, installed, caplog):
    installed(*packages)
    assert choose_runtime("auto", device) == chosen
    assert not caplog.records


def test_what_is_asked_for_is_taken(installed):
    installed("torch", "openvino")
    assert choose_runtime("torch", "cpu") == "torch"
    assert choose_runtime("openvino", "cpu") == "openvino"


@pytest.mark.parametrize(("device", "packages"), [("cpu", ("torch",)), ("cuda", ("torch", "openvino"))])
def test_what_cannot_be_used_is_said_and_the_next_taken(device, packages, installed, caplog):
    installed(*packages)
    assert choose_runtime("openvino", device) == "torch"
    assert "openvino cannot be used here" in caplog.text


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TOCO_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TOCO_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "toco"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "toco"
