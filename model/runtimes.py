"""What the encoder can run on, as a table: fastest first, each with what it needs. Knows no torch.

The order is by seconds of one forward on a processor with bfloat16 instructions, as measured by `benchmarks.paired`
(docs/performance.md).
"""

import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

logger = logging.getLogger(__name__)

RuntimeName = Literal["torch", "openvino"]
AskedRuntime = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run the encoder.

    Attributes:
        name: how it is asked for.
        devices: types of device that it computes on.
        package: what has to be installed.
    """

    name: RuntimeName
    devices: frozenset[str]
    package: str


RUNTIMES: Final = (
    Runtime("openvino", frozenset({"cpu"}), "openvino"),
    Runtime("torch", frozenset({"cpu", "cuda", "mps"}), "torch"),
)


def choose_runtime(asked: AskedRuntime = "auto", device: str = "cpu") -> RuntimeName:
    """Return the runtime that is asked for, or the fastest of the table that can be used here.

    Where the one that is asked for cannot be used, that is said and the next one taken.

    Args:
        asked: its name, or `auto`.
        device: type of the device.
    """
    usable = [runtime.name for runtime in RUNTIMES if device in runtime.devices and _is_installed(runtime.package)]
    if asked in usable:
        return asked
    if asked != "auto":
        logger.warning("%s cannot be used here (device %s); another runtime is taken", asked, device)
    return usable[0] if usable else "torch"


def _is_installed(package: str) -> bool:
    return find_spec(package) is not None


def cache_folder() -> Path:
    """Return where exported graphs are kept: `TOCO_CACHE_DIR`, or else a folder among the user's caches."""
    if chosen := os.environ.get("TOCO_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toco"
