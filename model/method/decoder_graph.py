"""The decoder as a graph that OpenVINO computes, its large products in 8 bits or not. Knows no torch."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import openvino
from openvino import opset13

from toco.model.method.array_maps import Array

_DILATION: Final = 5  # of `network.LargeFOV`
_LEVELS: Final = 127  # of either sign
_LEAST: Final = np.float32(1e-6)


def decoder_graph(weights: Sequence[Array], *, eight_bits: bool) -> Any:
    """Return `network.LargeFOV` as a graph: (1, d, h, w) tokens in, (1, C + 1, h, w) logits out.

    In 8 bits weights have a scale for each output, and what enters a convolution one for each image, its largest value.
    Such scales can be taken out again at the end, as the decoder has no bias: twice its tokens are twice its logits.

    Args:
        weights: of its three convolutions, (outputs, inputs, side, side) each.
        eight_bits: for all but the last, which is small.
    """
    tokens = opset13.parameter([1, weights[0].shape[1], -1, -1], np.float32)
    *wide, last = weights
    found: Any = tokens
    largest: list[Any] = []
    for place, weight in enumerate(wide):
        if eight_bits:
            found, scale = _rounded(found, signed=place == 0)
            largest.append(scale)
        found = opset13.relu(_convolved(found, _whole(weight) if eight_bits else opset13.constant(weight), _DILATION))
    found = _convolved(found, opset13.constant(last), 1)
    for scale in largest:
        found = opset13.multiply(found, scale)
    return openvino.Model([found], [tokens])


def _convolved(values: Any, weight: Any, dilation: int) -> Any:
    reach = [dilation * (weight.shape[-1] // 2)] * 2
    return opset13.convolution(values, weight, [1, 1], reach, reach, [dilation] * 2)


def _rounded(values: Any, *, signed: bool) -> tuple[Any, Any]:
    """Return values over their largest, rounded to 8 bits, and the largest."""
    size = opset13.reduce_max(opset13.abs(values), opset13.constant([1, 2, 3]), keep_dims=True)
    scale = opset13.maximum(size, opset13.constant(_LEAST))
    ends = [opset13.constant(np.float32(end)) for end in ((-1, 1) if signed else (0, 1))]
    shares = opset13.divide(values, scale)
    return opset13.fake_quantize(shares, *ends, *ends, 2 * _LEVELS + 1 if signed else 256), scale


def _whole(weight: Array) -> Any:
    """Return weights as whole numbers of 8 bits times a scale for each output."""
    scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / _LEVELS, _LEAST).astype(np.float32)
    whole = np.rint(weight / scale).astype(np.int8)
    return opset13.multiply(opset13.convert(opset13.constant(whole), "f32"), opset13.constant(scale))
