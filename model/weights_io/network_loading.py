"""A model folder's network, on the runtime that is chosen for it."""

import logging
import shutil
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
    if runtime == "openvino":
        spec = read_spec(folder)
        state = read_weights(folder, spec)
        try:
            encoder = _openvino_encoder(folder, spec, cache, dtype, threads)
        except (OSError, RuntimeError, ImportError) as error:
            logger.warning("%s runs on torch, as OpenVINO cannot take it: %s", spec.version, error)
        else:
            # Looks at photos like any encoder; nobody trains it.
            network = ToCoNetwork(cast("Encoder", encoder), len(spec.classes))
            heads = {name: value for name, value in state.items() if not name.startswith("encoder.")}
            fit_state(network, heads, str(folder))
            return network.eval(), spec, "openvino"
    return *load_model(folder), "torch"


def _openvino_encoder(
    folder: Path, spec: ModelSpec, cache: Path, dtype: torch.dtype | None, threads: int
) -> "OpenVinoEncoder":
    from toco.model.method.openvino_encoder import (  # noqa: PLC0415 - optional, and a runtime with threads of its own
        OpenVinoEncoder,
        export_encoder,
    )

    def exported() -> Path:
        return exported_encoder(spec, cache, lambda: load_model(folder)[0].encoder, export=export_encoder)

    found = exported()
    try:
        return OpenVinoEncoder(found, dtype, threads=threads)
    except (OSError, RuntimeError, ValueError, SafetensorError):  # damaged on its disk
        logger.warning("the exported encoder in %s cannot be read and is made anew", found)
        shutil.rmtree(found)
        return OpenVinoEncoder(exported(), dtype, threads=threads)
