"""What the encoder can run on, as a table: fastest first, each with what it needs. Knows no torch.

The order is by seconds of one forward on a processor with bfloat16 instructions, as measured by `benchmarks.paired`
(docs/performance.md).
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from toco.model.options import LabelOptions

logger = logging.getLogger(__name__)

RuntimeName = Literal["torch", "openvino", "openvino-int8"]
AskedRuntime = Literal["auto", "torch", "openvino", "openvino-int8"]

CPUINFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run the encoder.

    Attributes:
        name: how it is asked for.
        devices: types of device that it computes on.
        package: what has to be installed.
        gains_with: what a processor has, as Linux names it, where this is faster than what follows in the table.
        loses_with: what it must not have for that. It plays no part where the runtime is asked for by its name.
    """

    name: RuntimeName
    devices: frozenset[str]
    package: str
    gains_with: frozenset[str] = frozenset()
    loses_with: frozenset[str] = frozenset()


RUNTIMES: Final = (
    # Products in 8 bits were measured where those in bfloat16 are vector instructions too, not those of matrices (AMX).
    Runtime(
        "openvino-int8",
        frozenset({"cpu"}),
        "openvino",
        gains_with=frozenset({"avx512_vnni", "avx512_bf16"}),
        loses_with=frozenset({"amx_bf16"}),
    ),
    Runtime("openvino", frozenset({"cpu"}), "openvino"),
    Runtime("torch", frozenset({"cpu", "cuda", "mps"}), "torch"),
)

# What oneDNN, on which all of them compute, is told to know of a processor: of these, none has what is asked for above.
_LIMITS: Final = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_OLDER: Final = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"})


def choose_runtime(
    asked: AskedRuntime = "auto", device: str = "cpu", *, features: frozenset[str] | None = None
) -> RuntimeName:
    """Return the runtime that is asked for, or the fastest of the table that can be used here.

    Where the one that is asked for cannot be used, that is said and the next one taken.

    Args:
        asked: its name, or `auto`.
        device: type of the device.
        features: of the processor; None takes `processor_features`.
    """
    usable = [runtime for runtime in RUNTIMES if device in runtime.devices and _is_installed(runtime.package)]
    for runtime in usable:
        if runtime.name == asked:
            return runtime.name
    if asked != "auto":
        logger.warning("%s cannot be used here (device %s); another runtime is taken", asked, device)
    known = processor_features() if features is None else features
    for runtime in usable:
        if runtime.gains_with <= known and not runtime.loses_with & known:
            return runtime.name
    return "torch"


def runtime_for(options: LabelOptions, usual: RuntimeName) -> RuntimeName:
    """Return what the encoder runs on with some options.

    What is to be as published is not computed in 8 bits; float32 is what torch computes, as the method was checked.

    Args:
        options: of the labels.
        usual: what it runs on otherwise, see `choose_runtime`.
    """
    if options.precision == "float32" or usual == "torch":
        return "torch"
    return "openvino" if options.preset == "paper" else usual


def processor_features(cpuinfo: Path = CPUINFO, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return what the processor can do, as Linux names it; nothing where that is not told.

    Args:
        cpuinfo: what Linux says of the processor.
        environment: of the process. What limits oneDNN to an older processor's instructions is heeded.
    """
    if any(environment.get(name, "").upper() in _OLDER for name in _LIMITS):
        return frozenset()
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return frozenset()
    told = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(told, "").split())


def _is_installed(package: str) -> bool:
    return find_spec(package) is not None


def cache_folder() -> Path:
    """Return where exported graphs are kept: `TOCO_CACHE_DIR`, or else a folder among the user's caches."""
    if chosen := os.environ.get("TOCO_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toco"
