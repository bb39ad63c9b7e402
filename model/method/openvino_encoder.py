"""The encoder as a graph that OpenVINO runs: the same tokens, in less time on processors.

export_encoder(encoder, folder, eight_bits=False)   # once; traces the module
OpenVinoEncoder(EncoderGraph(folder, bfloat16=True, threads=2))(images)   # like `Encoder`, to look at photos
"""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from toco.model.method.backbone import Encoder, Tokens, as_tokens
from toco.model.method.eight_bits import evened, round_attention, round_weights
from toco.model.method.encoder_graph import GRAPH, POSITIONS, SHAPE, EncoderGraph


class _Sequences(nn.Module):
    """What is traced: images and position embedding in, both token sequences out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.sequences(self.encoder.sequence(images, position))


def export_encoder(encoder: Encoder, folder: Path, *, eight_bits: bool = False) -> None:
    """Write an encoder as a graph with all that `EncoderGraph` needs.

    Args:
        encoder: in evaluation mode, float32, on the CPU.
        folder: made, and not whole until this returns.
        eight_bits: whether its large products are to be computed in 8 bits (see `eight_bits`), not all in float32.
    """
    from openvino.frontend import FrontEndManager  # noqa: PLC0415 - needed once a model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415 - needed once a model

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
        round_attention(graph)
    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    save_file({"positions": encoder.positions.detach().contiguous()}, folder / POSITIONS)
    shape = {"patch_size": encoder.patch_size, "width": encoder.width, "prefix": encoder.prefix,
             "placed_prefix": encoder.placed_prefix}  # fmt: skip
    (folder / SHAPE).write_text(json.dumps(shape), "utf-8")


def _trained_side(encoder: Encoder) -> int:
    """Return the side in pixels of the square whose token grid the position embedding has."""
    return encoder.patch_size * math.isqrt(encoder.positions.shape[1] - encoder.placed_prefix)


class OpenVinoEncoder(nn.Module):
    """An exported encoder where a torch module is wanted; each photo gets as many threads as torch has.

    Args:
        graph: the encoder.
    """

    def __init__(self, graph: EncoderGraph) -> None:
        super().__init__()
        self.graph = graph
        self.patch_size, self.width = graph.patch_size, graph.width

    def forward(self, images: Tensor) -> Tokens:
        """Encode images (b, 3, H, W), normalised; see `Tokens`."""
        found = self.graph(images.float().numpy(), threads=torch.get_num_threads())
        final, aux = torch.from_numpy(found.final), torch.from_numpy(found.aux)
        return as_tokens(final, aux, found.grid, prefix=self.graph.prefix)
