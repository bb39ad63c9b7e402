"""Exported encoders, kept in a cache by the digest of their weights: made once, whole or not at all."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toco.model.runtimes import RuntimeName
from toco.model.spec import ModelSpec

if TYPE_CHECKING:
    from toco.model.method.backbone import Encoder

logger = logging.getLogger(__name__)

KEPT: Final = 8
"""How many encoders the cache holds; of more, those go that were not used for longest."""

_LAYOUT: Final = 3  # of what `openvino_encoder.export_encoder` writes
_BEGUN: Final = ".begun"


def exported_name(spec: ModelSpec, runtime: RuntimeName = "openvino") -> str:
    """Return the name of an encoder's folder: it changes with weights, backbone, runtime and layout."""
    backbone = spec.backbone.model_dump(mode="json")
    told = [_LAYOUT, runtime, version("openvino"), spec.weights_sha256, backbone, spec.aux_layer]
    return f"openvino-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]}"


def exported_encoder(
    spec: ModelSpec,
    cache: Path,
    load: "Callable[[], Encoder]",
    *,
    export: "Callable[[Encoder, Path], None]",
    runtime: RuntimeName = "openvino",
) -> Path:
    """Return the folder of an exported encoder, exporting it if nobody did yet.

    Args:
        spec: of the model.
        cache: where exports are kept.
        load: gives the encoder where it has to be exported.
        export: writes an encoder to a folder, which it makes.
        runtime: that it is for.

    Raises:
        OSError: the cache cannot be written to.
    """
    folder = cache / exported_name(spec, runtime)
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go of with the file, however the process ends
            if not folder.is_dir():  # no other process was first
                begun = folder.with_name(f"{folder.name}{_BEGUN}")
                shutil.rmtree(begun, ignore_errors=True)  # of one that was killed
                logger.info("exporting the encoder of %s, once", spec.version)
                export(load(), begun)
                begun.rename(folder)
                _drop_oldest(cache)
    os.utime(folder)
    return folder


def _drop_oldest(cache: Path) -> None:
    """Keep the exports that were used last. Whoever has one open that goes keeps what is open."""
    for folder in sorted(cache.glob("openvino-*"), key=_last_use, reverse=True)[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process dropped it
        return 0.0
