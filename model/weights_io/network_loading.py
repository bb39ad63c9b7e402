"""A model folder's network, on the runtime that is chosen for it. torch is loaded only where it is needed."""

import logging
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from toco.model.method.device import Device
from toco.model.runtimes import RuntimeName
from toco.model.spec import InvalidCheckpoint, ModelSpec, read_spec
from toco.model.weights_io.exported_encoder import exported_encoder
from toco.model.weights_io.weight_file import checked_weights

if TYPE_CHECKING:
    from toco.model.method.backbone import Encoder
    from toco.model.method.encoder_graph import EncoderGraph
    from toco.model.method.network import ToCoNetwork
    from toco.model.method.processor_network import ProcessorNetwork

logger = logging.getLogger(__name__)


class Networks(Protocol):
    """One network in the shapes that it is used in."""

    def on_processor(self, runtime: RuntimeName) -> "ProcessorNetwork | None":
        """Return its graphs for a runtime; None where torch computes it."""

    def on_torch(self, runtime: RuntimeName) -> "ToCoNetwork":
        """Return it as a torch module on the device, in evaluation mode, its encoder on a runtime."""


class GivenNetwork:
    """A torch module as it is, whatever the runtime."""

    def __init__(self, network: "ToCoNetwork", device: Device) -> None:
        self._network = network.eval().to(device.device)

    def on_processor(self, runtime: RuntimeName) -> None:
        """See `Networks`."""

    def on_torch(self, runtime: RuntimeName) -> "ToCoNetwork":  # noqa: ARG002 - of the protocol; it is on one already
        """See `Networks`."""
        return self._network


class FolderNetworks:
    """The network of a model folder, in each shape loaded once.

    Args:
        folder: of the model.
        device: where it runs.
        cache: where exported encoders are kept.
        threads: of the processor.

    Raises:
        InvalidCheckpoint: the folder does not fit.
    """

    def __init__(self, folder: Path, device: Device, *, cache: Path, threads: int) -> None:
        self.folder = folder
        self.spec = read_spec(folder)
        self._device, self._cache, self._threads = device, cache, threads
        self._graphs: dict[RuntimeName, ProcessorNetwork | None] = {"torch": None}
        self._modules: dict[RuntimeName, ToCoNetwork] = {}
        self._loading = threading.RLock()

    def on_processor(self, runtime: RuntimeName) -> "ProcessorNetwork | None":
        """See `Networks`. Where OpenVINO cannot take it (an unknown operation, a full disk), that is said, once.

        Raises:
            InvalidCheckpoint: see `checkpoint.load_model`.
        """
        with self._loading:
            if runtime not in self._graphs:
                data = checked_weights(self.folder, self.spec)
                try:
                    self._graphs[runtime] = self._processor_network(data, runtime)
                except (OSError, RuntimeError, ValueError, KeyError, ImportError, SafetensorError) as error:
                    logger.warning("%s runs on torch, as OpenVINO cannot take it: %s", self.spec.version, error)
                    self._graphs[runtime] = None
            return self._graphs[runtime]

    def on_torch(self, runtime: RuntimeName) -> "ToCoNetwork":
        """See `Networks`.

        Raises:
            InvalidCheckpoint: see `checkpoint.load_model`.
        """
        with self._loading:
            if runtime not in self._modules:
                graphs = self.on_processor(runtime)
                source = self.folder, self.spec
                module = _load_model(*source) if graphs is None else _around(graphs, *source)
                self._modules[runtime] = module.to(self._device.device)
            return self._modules[runtime]

    def _processor_network(self, data: bytes, runtime: RuntimeName) -> "ProcessorNetwork":
        from toco.model.method.processor_network import (  # noqa: PLC0415 - optional, and starts a runtime
            AUX_CLASSIFIER,
            CLASSIFIER,
            DECODER,
            HEADS,
            ProcessorNetwork,
        )

        arrays = load_arrays(data)  # not from the file: its encoder may take minutes to export
        heads = {name: arrays[name].astype(np.float32) for name in HEADS}
        del data, arrays
        bfloat16 = self._device.arithmetic == "bfloat16"
        encoder = _encoder_graph(
            partial(_exported, self.folder, self.spec, runtime, self._cache), bfloat16=bfloat16, threads=self._threads
        )
        classes = len(self.spec.classes)
        if [len(heads[name]) for name in (CLASSIFIER, AUX_CLASSIFIER, DECODER[-1])] != [classes, classes, classes + 1]:
            raise ValueError("its heads do not fit its classes")  # which torch's loader says in full
        eight_bits = runtime == "openvino-int8"
        return ProcessorNetwork(encoder, heads, eight_bits=eight_bits, bfloat16=bfloat16, threads=self._threads)


def _load_model(folder: Path, spec: ModelSpec) -> "ToCoNetwork":
    from toco.model.weights_io.checkpoint import load_model  # noqa: PLC0415 - imports torch

    network, found = load_model(folder)
    if found != spec:  # its classes may be others, or in another order
        raise InvalidCheckpoint(f"The model in {str(folder)!r} was replaced while it was used.", fix="Load it again.")
    return network


def _around(graphs: "ProcessorNetwork", folder: Path, spec: ModelSpec) -> "ToCoNetwork":
    """Return a torch module around an exported encoder: it looks at photos like any other; nobody trains it."""
    import torch  # noqa: PLC0415 - slow; labels are made without

    from toco.model.method.network import ToCoNetwork  # noqa: PLC0415 - slow; labels are made without
    from toco.model.method.openvino_encoder import OpenVinoEncoder  # noqa: PLC0415 - slow; labels are made without
    from toco.model.weights_io.checkpoint import fit_state  # noqa: PLC0415 - slow; labels are made without

    network = ToCoNetwork(cast("Encoder", OpenVinoEncoder(graphs.encoder)), len(spec.classes))
    fit_state(network, {name: torch.from_numpy(value) for name, value in graphs.heads.items()}, str(folder))
    return network.eval()


def _exported(folder: Path, spec: ModelSpec, runtime: RuntimeName, cache: Path) -> Path:
    def load() -> "Encoder":
        return _load_model(folder, spec).encoder

    def export(encoder: "Encoder", place: Path) -> None:
        from toco.model.method.openvino_encoder import export_encoder  # noqa: PLC0415 - imports torch

        export_encoder(encoder, place, eight_bits=runtime == "openvino-int8")

    return exported_encoder(spec, cache, load, export=export, runtime=runtime)


def _encoder_graph(exported: Callable[[], Path], *, bfloat16: bool, threads: int) -> "EncoderGraph":
    from toco.model.method.encoder_graph import EncoderGraph  # noqa: PLC0415 - optional, with threads of its own

    found = exported()
    try:
        return EncoderGraph(found, bfloat16=bfloat16, threads=threads)
    except (OSError, RuntimeError, ValueError, SafetensorError):  # damaged on its disk
        logger.warning("the exported encoder in %s cannot be read and is made anew", found)
        shutil.rmtree(found)
        return EncoderGraph(exported(), bfloat16=bfloat16, threads=threads)
