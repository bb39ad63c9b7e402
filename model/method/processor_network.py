"""The network as a processor runs it: graphs of OpenVINO for encoder, decoder and affinity. Knows no torch."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from toco.model.method.array_maps import Array
from toco.model.method.compiled_graph import CompiledGraph
from toco.model.method.decoder_graph import decoder_graph
from toco.model.method.encoder_graph import EncoderGraph
from toco.model.options import Affinity

CLASSIFIER, AUX_CLASSIFIER = "classifier.weight", "aux_classifier.weight"
DECODER = ("decoder.conv6.weight", "decoder.conv7.weight", "decoder.conv8.weight")
HEADS = (CLASSIFIER, AUX_CLASSIFIER, *DECODER)
_LEAST_LENGTH = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class Look:
    """What the encoder sees in one image on a token grid of h x w.

    Attributes:
        patches: (h * w, d) final patch tokens.
        aux_patches: (h * w, d) auxiliary ones.
        grid: (h, w).
    """

    patches: Array
    aux_patches: Array
    grid: tuple[int, int]


class ProcessorNetwork:
    """Encoder, classifiers and decoder, used from any number of threads at once.

    Args:
        encoder: as exported.
        heads: the weights of `HEADS` by name, float32, shaped as `network.ToCoNetwork` has them.
        eight_bits: whether the decoder's large products are in 8 bits; see `decoder_graph`.
        bfloat16: see `CompiledGraph`.
        threads: of the processor, all photos together.
    """

    def __init__(
        self, encoder: EncoderGraph, heads: Mapping[str, Array], *, eight_bits: bool, bfloat16: bool, threads: int
    ) -> None:
        self.encoder = encoder
        self.heads = heads
        self._classifier, self._aux_classifier = (heads[name][:, :, 0, 0] for name in (CLASSIFIER, AUX_CLASSIFIER))
        self._bfloat16, self._threads = bfloat16, threads
        self._decoder = self._compiled(decoder_graph([heads[name] for name in DECODER], eight_bits=eight_bits))
        self._spreading: dict[Affinity, CompiledGraph] = {}
        self._making = threading.Lock()

    def look(self, image: Array, *, threads: int) -> Look:
        """Encode an image (1, 3, H, W), normalised; `threads` of the processor for this call."""
        found = self.encoder(image, threads=threads)
        patches, aux_patches = (tokens[0, self.encoder.prefix :] for tokens in (found.final, found.aux))
        return Look(patches, aux_patches, found.grid)

    def logits(self, look: Look) -> Array:
        """Return the classifier's logits (C,); `network.ToCoNetwork.classify`."""
        return np.asarray(np.einsum("cd,d->c", self._classifier, look.patches.max(axis=0)), np.float32)

    def cams(self, look: Look, channels: Sequence[int], *, auxiliary: bool) -> Array:
        """Return the raw CAMs (K, h, w) of K classes."""
        weight = self._aux_classifier if auxiliary else self._classifier
        tokens = look.aux_patches if auxiliary else look.patches
        # No product of BLAS, whose threads spin: this is small.
        return np.asarray(np.einsum("cd,nd->cn", weight[list(channels)], tokens), np.float32).reshape(-1, *look.grid)

    def decode(self, look: Look, *, threads: int) -> Array:
        """Return the decoder's logits (C + 1, h, w), channel 0 background."""
        tokens = np.ascontiguousarray(look.patches.T).reshape(1, -1, *look.grid)
        (found,) = self._decoder(tokens, threads=threads)
        return np.asarray(found[0], np.float32)

    def spread(self, maps: Array, look: Look, settings: Affinity, *, threads: int) -> Array:
        """Spread maps (K, h, w) over alike tokens; `affinity.spread`."""
        with self._making:
            if settings not in self._spreading:
                self._spreading[settings] = self._compiled(spreading_graph(settings))
        tokens = look.aux_patches
        lengths = np.sqrt(np.einsum("nd,nd->n", tokens, tokens))
        unit = tokens / np.maximum(lengths, _LEAST_LENGTH)[:, None]
        scores = np.ascontiguousarray(maps.reshape(len(maps), -1).T)
        (found,) = self._spreading[settings](unit, scores, threads=threads)
        return found.T.reshape(maps.shape)

    def _compiled(self, graph: Any) -> CompiledGraph:
        return CompiledGraph(graph, bfloat16=self._bfloat16, threads=self._threads)


def spreading_graph(settings: Affinity) -> Any:
    """Return `affinity.spread` as a graph: (n, d) tokens of length 1 and (n, K) scores in, (n, K) scores out."""
    tokens, scores = opset13.parameter([-1, -1], np.float32), opset13.parameter([-1, -1], np.float32)
    alike = opset13.relu(opset13.matmul(tokens, tokens, False, True))
    alike = opset13.power(alike, opset13.constant(np.float32(settings.power)))
    total = opset13.reduce_sum(alike, opset13.constant([1]), keep_dims=True)
    found: Any = scores
    for _ in range(settings.rounds):
        found = opset13.divide(opset13.matmul(alike, found, False, False), total)
    return openvino.Model([found], [tokens, scores])
