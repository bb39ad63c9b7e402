"""Device and dtype, chosen in one place. torch is asked only where there may be something else than a processor."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from toco.model.errors import TocoError
from toco.model.runtimes import processor_features

if TYPE_CHECKING:
    import torch

ArithmeticName = Literal["float32", "bfloat16", "float16"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

# What Linux has where a graphics processor is: NVIDIA's, that of a Jetson, under Windows, AMD's.
_ACCELERATORS: Final = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


class DeviceUnavailable(TocoError):
    """The device that was asked for is not there."""

    code = "device_unavailable"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Device:
    """Where the network runs and what it computes in.

    Attributes:
        name: as torch names it, such as `cpu`, `cuda` or `cuda:1`.
        arithmetic: `float32`, or what autocast computes in.
    """

    name: str
    arithmetic: ArithmeticName = "float32"

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.name.split(":", maxsplit=1)[0]

    @property
    def device(self) -> "torch.device":
        """The torch device."""
        import torch  # noqa: PLC0415 - slow; a processor labels without it

        return torch.device(self.name)

    @property
    def dtype(self) -> "torch.dtype | None":
        """Autocast dtype, or None for plain float32."""
        import torch  # noqa: PLC0415 - slow; a processor labels without it

        return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[self.arithmetic]


def _cpu_has_bfloat16() -> bool:
    return "avx512_bf16" in processor_features()


def _may_have_accelerator() -> bool:
    return sys.platform != "linux" or any(Path(place).exists() for place in _ACCELERATORS)


def choose_device(name: str = "auto", precision: Precision = "auto") -> Device:
    """Choose the device, and the precision that it has in hardware.

    Args:
        name: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto` takes bfloat16 on CUDA and on CPUs with bfloat16 arithmetic, else float32.

    Raises:
        DeviceUnavailable: the device is not there.
    """
    if name == "cpu" or (name == "auto" and not _may_have_accelerator()):
        bfloat16 = precision == "auto" and _cpu_has_bfloat16()
        return Device("cpu", "bfloat16" if bfloat16 else "float32" if precision == "auto" else precision)
    import torch  # noqa: PLC0415 - slow; a processor labels without it

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if name == "cpu":
            return choose_device(name, precision)
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(name.split(":", maxsplit=1)[0], False):
        raise DeviceUnavailable(f"Device {name!r} is not available here.", fix="Use --device auto or cpu.")
    if precision == "auto":
        bfloat16 = name.startswith("cuda") and torch.cuda.is_bf16_supported()
        return Device(name, "bfloat16" if bfloat16 else "float32")
    return Device(name, precision)
