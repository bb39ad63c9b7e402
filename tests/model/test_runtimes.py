"""Which runtime runs the encoder: the fastest that is installed and knows the device, unless another is asked for."""

from pathlib import Path

import pytest

from toco.model import runtimes
from toco.model.runtimes import cache_folder, choose_runtime, processor_features

VECTORS = frozenset({"avx512_vnni", "avx512_bf16"})


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
    assert choose_runtime("auto", device, features=frozenset()) == chosen
    assert not caplog.records


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        (VECTORS, "openvino-int8"),
        (VECTORS | {"avx2"}, "openvino-int8"),
        (VECTORS | {"amx_bf16", "amx_int8"}, "openvino"),  # products of matrices are faster still
        (frozenset({"avx512_vnni"}), "openvino"),
        (frozenset({"avx2", "avx_vnni"}), "openvino"),
        (frozenset(), "openvino"),
    ],
)
def test_8_bits_only_where_they_were_measured_to_gain(features, chosen, installed):
    installed("torch", "openvino")
    assert choose_runtime("auto", "cpu", features=features) == chosen
    assert choose_runtime("auto", "cuda", features=features) == "torch"


def test_what_is_asked_for_is_taken(installed):
    installed("torch", "openvino")
    assert choose_runtime("torch", "cpu") == "torch"
    assert choose_runtime("openvino", "cpu", features=VECTORS) == "openvino"
    assert choose_runtime("openvino-int8", "cpu", features=frozenset()) == "openvino-int8"


@pytest.mark.parametrize(("device", "packages"), [("cpu", ("torch",)), ("cuda", ("torch", "openvino"))])
def test_what_cannot_be_used_is_said_and_the_next_taken(device, packages, installed, caplog):
    installed(*packages)
    assert choose_runtime("openvino", device) == "torch"
    assert "openvino cannot be used here" in caplog.text


CPUINFO = "processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"


def test_what_a_processor_can_do_is_what_linux_says(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO)
    assert processor_features(file, {}) == {"fpu", "avx2", "avx512_vnni", "avx512_bf16"}
    file.write_text("Processor\t: ARMv8\n")
    assert processor_features(file, {}) == frozenset()
    assert processor_features(tmp_path / "none", {}) == frozenset()


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_processor_that_is_to_count_as_an_older_one_does(name, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO)
    assert processor_features(file, {name: "avx2"}) == frozenset()
    assert processor_features(file, {name: "AVX512_CORE_BF16"}) >= VECTORS


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TOCO_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TOCO_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "toco"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "toco"
