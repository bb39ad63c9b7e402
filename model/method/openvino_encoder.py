"""The encoder as a graph that OpenVINO runs: the same tokens, in less time on processors.

    export_encoder(encoder, folder, eight_bits=False)   # once; traces the module
    OpenVinoEncoder(folder, dtype, threads=2)(images)   # used like `backbone.Encoder`, but only to look at photos

The graph takes images of any size, and the position embedding of their token grid beside them, which torch makes: it
is resized as ToCo wants it, and a graph that did it would be bound to one size.
"""

import json
import math
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
import openvino
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from toco.model.method.backbone import Encoder, Tokens, as_tokens, resized_positions, token_grid
from toco.model.method.eight_bits import GROUP, evened, round_weights

GRAPH: Final = "encoder.xml"
POSITIONS: Final = "positions.safetensors"
SHAPE: Final = "encoder.json"
_GRIDS: Final = 16  # position embeddings that are kept

# OpenVINO fills its tables of types at their first use, and asks Python for numpy's meanwhile: of two threads that come
# first together, one waits for the interpreter with the table locked, the other for the table with the interpreter
# locked, for ever. An import runs in one thread alone, so the tables are used here first.
openvino.Type.f32.to_dtype()
openvino.Tensor(np.zeros(1, np.float32), shared_memory=True).data.copy()


class _Sequences(nn.Module):
    """What is traced: images and position embedding in, both token sequences out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.sequences(self.encoder.sequence(images, position))


def export_encoder(encoder: Encoder, folder: Path, *, eight_bits: bool = False) -> None:
    """Write an encoder as a graph with all that `OpenVinoEncoder` needs.

    Args:
        encoder: in evaluation mode, float32, on the CPU.
        folder: made, and not whole until this returns.
        eight_bits: whether its large products are to be computed in 8 bits (see `eight_bits`), not all in float32.
    """
    from openvino.frontend import FrontEndManager  # noqa: PLC0415 - needed once a model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415 - as above

    folder.mkdir(parents=True)
    if eight_bits:
        encoder = evened(encoder, side=_trained_side(encoder))
    side = 4 * encoder.patch_size
    position = encoder.position_embedding((4, 4)).detach()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is out of favour with torch, and the only way without a compiler
        trace: Callable[..., Any] = torch.jit.trace
        traced = trace(_Sequences(encoder), (torch.zeros(1, 3, side, side), position), check_trace=False)
    # The front end itself, not `openvino.convert_model`, which reports to its makers.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
    graph = frontend.convert(frontend.load(decoder))
    graph.reshape({0: [-1, 3, -1, -1], 1: [1, -1, encoder.width]})
    if eight_bits:
        round_weights(graph)
    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    save_file({"positions": encoder.positions.detach().contiguous()}, folder / POSITIONS)
    shape = {"patch_size": encoder.patch_size, "width": encoder.width, "prefix": encoder.prefix,
             "placed_prefix": encoder.placed_prefix}  # fmt: skip
    (folder / SHAPE).write_text(json.dumps(shape), "utf-8")


def _trained_side(encoder: Encoder) -> int:
    """Return the side in pixels of the square whose token grid the position embedding has."""
    return encoder.patch_size * math.isqrt(encoder.positions.shape[1] - encoder.placed_prefix)


class OpenVinoEncoder(nn.Module):
    """Runs an exported encoder on the processor, from any number of threads at once.

    Each photo gets as many threads as torch has in the calling thread. Where that is one, photos side by side are
    computed in streams of their own, which wait for nobody.

    Args:
        folder: as written by `export_encoder`.
        dtype: torch.bfloat16, or None for float32, of what is not in 8 bits; tokens are float32 in any case.
        threads: of the processor, all photos together.
    """

    def __init__(self, folder: Path, dtype: torch.dtype | None, *, threads: int) -> None:
        super().__init__()
        shape = json.loads((folder / SHAPE).read_text("utf-8"))
        self.patch_size: int = shape["patch_size"]
        self.width: int = shape["width"]
        self._prefix, self._placed_prefix = shape["prefix"], shape["placed_prefix"]
        self._embedding = load_file(folder / POSITIONS)["positions"]
        self._positions: dict[tuple[int, int], Tensor] = {}
        self._core = openvino.Core()
        self._graph = self._core.read_model(folder / GRAPH)
        self._precision = openvino.Type.bf16 if dtype == torch.bfloat16 else openvino.Type.f32
        self._threads = threads
        self._compiled: dict[int, openvino.CompiledModel] = {}
        self._idle: dict[int, SimpleQueue[Any]] = {}
        self._compiling = threading.Lock()

    def forward(self, images: Tensor) -> Tokens:
        """Encode images (b, 3, H, W), normalised; see `Tokens`."""
        grid = token_grid(images, self.patch_size)
        each = min(torch.get_num_threads(), self._threads)
        requests = self._requests(each)
        try:
            request = requests.get_nowait()
        except Empty:
            request = self._compiled[each].create_infer_request()
        inputs = (images.float().contiguous().numpy(), self._position(grid).numpy())
        request.infer(inputs, share_inputs=True)
        final, aux = (torch.from_numpy(request.get_output_tensor(place).data.copy()) for place in (0, 1))
        requests.put(request)
        return as_tokens(final, aux, grid, prefix=self._prefix)

    def _requests(self, each: int) -> "SimpleQueue[Any]":
        """Return the requests that nobody uses, of the graph compiled for so many threads a photo."""
        with self._compiling:
            if each not in self._compiled:
                self._compiled[each] = self._core.compile_model(
                    self._graph,
                    "CPU",
                    {
                        "INFERENCE_PRECISION_HINT": self._precision,
                        "INFERENCE_NUM_THREADS": self._threads,
                        "NUM_STREAMS": max(1, self._threads // each),
                        # A thread that is bound to a core waits for whoever else is there.
                        "ENABLE_CPU_PINNING": False,
                        # Of weights in 8 bits alone: what they are multiplied with is rounded too.
                        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
                    },
                )
                self._idle[each] = SimpleQueue()
            return self._idle[each]

    def _position(self, grid: tuple[int, int]) -> Tensor:
        found = self._positions.get(grid)
        if found is None:
            found = resized_positions(self._embedding, grid, prefix=self._placed_prefix).contiguous()
            if len(self._positions) < _GRIDS:
                self._positions[grid] = found
        return found
