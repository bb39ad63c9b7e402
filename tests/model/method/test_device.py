"""Device and precision: chosen by what is there; what is not there is refused."""

import sys

import pytest
import torch

from toco.model.method import device as device_module
from toco.model.method.device import DeviceUnavailable, choose_device


@pytest.fixture
def machine(monkeypatch):
    """Pretend that this machine has some accelerators."""

    def pretend(*, cuda=False, mps=False, bfloat16_gpu=False, bfloat16_cpu=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bfloat16_gpu)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device_module, "_may_have_accelerator", lambda: True)  # torch is to say
        monkeypatch.setattr(device_module, "_cpu_has_bfloat16", lambda: bfloat16_cpu)

    return pretend


@pytest.mark.parametrize(
    ("has", "chosen"),
    [({"cuda": True, "mps": True}, "cuda"), ({"cuda": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu")],
)
def test_auto_takes_the_fastest_that_is_there(has, chosen, machine):
    machine(**has)
    assert choose_device("auto").device.type == chosen


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "tpu", "", "cpus"])
def test_what_is_not_there_is_refused(name, machine):
    machine()
    with pytest.raises(DeviceUnavailable, match="not available here") as caught:
        choose_device(name)
    assert repr(name) in caught.value.detail
    assert "cpu" in caught.value.fix


def test_a_numbered_gpu_is_kept(machine):
    machine(cuda=True)
    assert choose_device("cuda:1").device == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("name", "has", "dtype"),
    [
        ("cpu", {}, None),
        ("cpu", {"bfloat16_cpu": True}, torch.bfloat16),
        ("cuda", {"cuda": True}, None),
        ("cuda", {"cuda": True, "bfloat16_gpu": True}, torch.bfloat16),
        ("mps", {"mps": True, "bfloat16_cpu": True}, None),
    ],
)
def test_automatic_precision_is_bfloat16_where_the_hardware_has_it(name, has, dtype, machine):
    machine(**has)
    assert choose_device(name).dtype == dtype


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_a_chosen_precision_is_kept(precision, dtype, machine):
    machine(bfloat16_cpu=True)
    assert choose_device("cpu", precision).dtype == dtype


@pytest.mark.parametrize(
    ("features", "answer"), [({"avx512f", "avx512_bf16"}, True), ({"avx512f"}, False), (set(), False)]
)
def test_a_cpu_has_bfloat16_if_it_says_so(features, answer, monkeypatch):
    monkeypatch.setattr(device_module, "processor_features", lambda: frozenset(features))
    assert (choose_device("cpu").arithmetic == "bfloat16") is answer


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_where_there_is_only_a_processor_torch_is_not_asked(name, monkeypatch):
    monkeypatch.setattr(device_module, "_may_have_accelerator", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import would fail
    assert choose_device(name).kind == "cpu"


def test_files_of_a_graphics_processor_are_a_reason_to_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(device_module, "_ACCELERATORS", (str(tmp_path / "nvidiactl"),))
    assert not device_module._may_have_accelerator()
    (tmp_path / "nvidiactl").touch()
    assert device_module._may_have_accelerator()
