"""A model folder's network, on the runtime that is chosen for it."""

import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError

from toco.model.method.backbone import Encoder
from toco.model.method.network import ToCoNetwork
from toco.model.runtimes import RuntimeName
from toco.model.spec import ModelSpec, read_spec
from toco.model.weights_io.checkpoint import fit_state, load_model, read_weights
from toco.model.weights_io.exported_encoder import exported_encoder

if TYPE_CHECKING:
    from toco.model.method.openvino_encoder import OpenVinoEncoder

logger = logging.getLogger(__name__)


def load_network(
    folder: Path, runtime: RuntimeName, *, cache: Path, dtype: torch.dtype | None, threads: int
) -> tuple[ToCoNetwork, ModelSpec, RuntimeName]:
    """Read a model folder's network, its encoder on a runtime.

    Args:
        folder: of the model.
        runtime: where the encoder cannot run on it (an operation that it does not know, a full disk), torch is taken,
            and that is said.
        cache: where exported encoders are kept.
        dtype: what the encoder computes in; None for float32. torch is told at each call instead.
        threads: of the processor.

    Returns:
        The network in evaluation mode, its parameters float32 on the CPU; its spec; and what the encoder runs on.

    Raises:
        InvalidCheckpoint: see `checkpoint.load_model`.
    """
    if runtime != "torch":
        spec = read_spec(folder)
        state = read_weights(folder, spec)
        try:
            encoder = _openvino_encoder(partial(_exported, folder, spec, runtime, cache), dtype, threads)
        except (OSError, RuntimeError, ImportError) as error:
            logger.warning("%s runs on torch, as OpenVINO cannot take it: %s", spec.version, error)
        else:
            # Looks at photos like any encoder; nobody trains it.
            network = ToCoNetwork(cast("Encoder", encoder), len(spec.classes))
            heads = {name: value for name, value in state.items() if not name.startswith("encoder.")}
            fit_state(network, heads, str(folder))
            return network.eval(), spec, runtime
    return *load_model(folder), "torch"


def _exported(folder: Path, spec: ModelSpec, runtime: RuntimeName, cache: Path) -> Path:
    from toco.model.method.openvino_encoder import export_encoder  # noqa: PLC0415 - optional, and starts a runtime

    export = partial(export_encoder, eight_bits=runtime == "openvino-int8")
    return exported_encoder(spec, cache, lambda: load_model(folder)[0].encoder, export=export, runtime=runtime)


def _openvino_encoder(exported: Callable[[], Path], dtype: torch.dtype | None, threads: int) -> "OpenVinoEncoder":
    from toco.model.method.openvino_encoder import OpenVinoEncoder  # noqa: PLC0415 - as above, with threads of its own

    found = exported()
    try:
        return OpenVinoEncoder(found, dtype, threads=threads)
    except (OSError, RuntimeError, ValueError, SafetensorError):  # damaged on its disk
        logger.warning("the exported encoder in %s cannot be read and is made anew", found)
        shutil.rmtree(found)
        return OpenVinoEncoder(exported(), dtype, threads=threads)
