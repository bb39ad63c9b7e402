"""Device and dtype, chosen in one place."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch

from toco.model.errors import TocoError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


class DeviceUnavailable(TocoError):
    """The device that was asked for is not there."""

    code = "device_unavailable"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Device:
    """Where the network runs and what it computes in.

    Attributes:
        device: the torch device.
        dtype: autocast dtype, or None for plain float32.
    """

    device: torch.device
    dtype: torch.dtype | None


@functools.cache
def _cpu_has_bfloat16() -> bool:
    capabilities = torch.backends.cpu.get_cpu_capability()
    info = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "AVX512" in capabilities and bool(info and info())


def choose_device(name: str = "auto", precision: Precision = "auto") -> Device:
    """Choose the device, and the precision that it has in hardware.

    Args:
        name: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto` takes bfloat16 on CUDA and on CPUs with bfloat16 arithmetic, else float32.

    Raises:
        DeviceUnavailable: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(name.split(":", maxsplit=1)[0], False):
        raise DeviceUnavailable(f"Device {name!r} is not available here.", fix="Use --device auto or cpu.")
    device = torch.device(name)
    if precision == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
        fast = on_gpu or (device.type == "cpu" and _cpu_has_bfloat16())
        return Device(device, torch.bfloat16 if fast else None)
    return Device(device, {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision])
