"""An encoder whose large matrix products are computed in 8 bits: what is done once, when it is exported.

Weights are rounded to 8 bits, one scale for each row and group of `GROUP` columns. What enters a product is rounded by
the runtime, photo by photo, one scale for each token and group of as many channels. A channel that is far larger than
its neighbours would take their bits away, so first the encoder is written anew, equal but for rounding: channels that
enter the hidden layer of a block are scaled alike by way of the norm before it, and hidden channels are sorted by size,
which brings those of a size into one group. Their sizes are measured on pictures drawn by chance: no photo is needed.
Of attention's two products the first is rounded too (`round_attention`).

References:
    Xiao et al., "SmoothQuant" (ICML 2023), equations 3 and 4: scales that move from activations into weights.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from openvino import opset13
from torch import Tensor, nn

from toco.model.method.backbone import Encoder
from toco.model.method.compiled_graph import GROUP

_LEVELS: Final = 127  # of either sign; symmetric, so that no product needs a correction
_PICTURES: Final = 4
_SHAPES: Final = 12  # a picture
_LEAST: Final = 1e-5
_ATTENDED: Final = ("queries", "keys", "values")  # inputs of an attention without mask and scale


def evened(encoder: Encoder, *, side: int) -> Encoder:
    """Return an encoder that gives the same tokens and whose products lose less to rounding.

    Args:
        encoder: in evaluation mode, float32; left as it is.
        side: of the pictures on which sizes are measured, pixels.
    """
    even = copy.deepcopy(encoder)
    hidden = [layer for block in even.vit.blocks if (layer := _hidden_layer(block)) is not None]
    products = [product for layer in hidden for product in (layer.first, layer.second)]
    sizes = _sizes(even, products, drawn_pictures(_PICTURES, side))
    with torch.no_grad():
        for (norm, first, second), entering, within in zip(hidden, sizes[::2], sizes[1::2], strict=True):
            scale = (entering / first.weight.abs().amax(dim=0).clamp_min(_LEAST)).sqrt()
            scale /= scale.log().mean().exp()
            norm.weight.div_(scale)
            norm.bias.div_(scale)
            first.weight.mul_(scale)
            order = within.argsort()
            first.weight.copy_(first.weight[order])
            first.bias.copy_(first.bias[order])
            second.weight.copy_(second.weight[:, order])
    return even


def round_weights(graph: Any) -> int:
    """Replace the weights of a graph's large matrix products by whole numbers of 8 bits and their scales.

    The square ones, that mix what attention found, stay: a twelfth of the work, and as much error as those thrice their
    size.

    Args:
        graph: `openvino.Model` with products by constant float32 weights (rows, columns); changed in place.

    Returns:
        How many were replaced.
    """
    replaced = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        constant = node.input_value(1).get_node()
        if constant.get_type_name() != "Constant" or len(set(constant.data.shape)) != 2:
            continue
        whole, scale = rounded(constant.data)
        grouped = opset13.multiply(opset13.convert(opset13.constant(whole), "f32"), opset13.constant(scale))
        shape = opset13.constant(np.array(constant.data.shape, np.int64))
        node.input(1).replace_source_output(opset13.reshape(grouped, shape, special_zero=False).output(0))
        replaced += 1
    return replaced


def round_attention(graph: Any) -> int:
    """Compute in 8 bits how alike the tokens of an attention are; what it then gathers of them stays as it is.

    Queries and keys are rounded with one scale for each head of a photo. Keys lose their mean before: it adds the same
    to all that a query is compared with, which their softmax takes off again, and it takes bits away.

    Args:
        graph: `openvino.Model` with attention without a mask, of tokens (b, heads, n, d); changed in place.

    Returns:
        How many were replaced.

    References:
        Zhang et al., "SageAttention" (ICLR 2025), section 3.2: keys without their mean.
    """
    replaced = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "ScaledDotProductAttention" or node.get_input_size() != len(_ATTENDED):
            continue
        queries, keys, values = (node.input_value(place) for place in range(len(_ATTENDED)))
        width = queries.get_partial_shape()[3]
        if node.get_attributes()["causal"] or width.is_dynamic:
            continue
        means = opset13.reduce_mean(keys, opset13.constant(np.array([2])), keep_dims=True)
        (queries, of_queries), (keys, of_keys) = (
            _in_eight_bits(each) for each in (queries, opset13.subtract(keys, means))
        )
        scale = opset13.multiply(opset13.multiply(of_queries, of_keys), _float(width.get_length() ** -0.5))
        alike = opset13.multiply(opset13.matmul(queries, keys, False, True), scale)
        gathered = opset13.matmul(opset13.softmax(alike, -1), values, False, False)
        for target in list(node.output(0).get_target_inputs()):
            target.replace_source_output(gathered.output(0))
        replaced += 1
    graph.validate_nodes_and_infer_types()
    return replaced


def _in_eight_bits(tokens: Any) -> tuple[Any, Any]:
    """Return tokens (b, heads, n, d) over their largest value in each head, rounded to 8 bits, and that value."""
    largest = opset13.reduce_max(opset13.abs(tokens), opset13.constant(np.array([2, 3])), keep_dims=True)
    largest = opset13.maximum(largest, _float(_LEAST))
    ends = (_float(-1.0), _float(1.0))
    return opset13.fake_quantize(opset13.divide(tokens, largest), *ends, *ends, 2 * _LEVELS + 1), largest


def _float(value: float) -> Any:
    return opset13.constant(np.float32(value))


def rounded(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round weights (rows, columns) to 8 bits; what comes back, multiplied, is at most half a scale off anywhere.

    Returns:
        (rows, groups, columns of a group) int8, and scales (rows, groups, 1) float32. Where columns do not come to
        whole groups, they are one.
    """
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, columns if columns % GROUP else GROUP)
    largest = np.abs(grouped).max(axis=2, keepdims=True)
    scale = np.maximum(largest / np.float32(_LEVELS), np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(grouped / scale).astype(np.int8), scale


def drawn_pictures(count: int, side: int) -> Tensor:
    """Return pictures (count, 3, side, side) float32, about normalised: clouds and shapes; always the same.

    Args:
        count: of pictures.
        side: pixels.
    """
    chance = np.random.default_rng(0)
    across = np.fft.fftfreq(side)
    fall = np.hypot(across[:, None], across)
    fall[0, 0] = 1 / side
    rows, columns = np.mgrid[:side, :side] / side
    pictures = []
    for _ in range(count):
        clouds = np.fft.ifft2(np.fft.fft2(chance.normal(size=(3, side, side))) / fall**1.2).real
        clouds /= clouds.std(axis=(1, 2), keepdims=True)
        picture = clouds + 1.5 * clouds[:1]  # colours of a photo go together
        for _ in range(_SHAPES):
            (top, left), (height, width) = chance.uniform(0, 1, 2), chance.uniform(0.03, 0.3, 2)
            inside = ((rows - top) / height) ** 2 + ((columns - left) / width) ** 2 < 1
            picture = np.where(inside, chance.uniform(-2, 2, (3, 1, 1)) + 0.3 * picture[::-1], picture)
        pictures.append(np.clip(picture, -2.2, 2.6))
    return torch.from_numpy(np.stack(pictures)).float()


class _HiddenLayer(NamedTuple):
    """What surrounds the hidden layer of a block, in this order; a function of each channel is between the products."""

    norm: nn.LayerNorm
    first: nn.Linear
    second: nn.Linear


def _hidden_layer(block: nn.Module) -> _HiddenLayer | None:
    """Return the hidden layer of a block, or None where something else is between norm and products, or a gate."""
    norm, hidden = block.get_submodule("norm2"), block.get_submodule("mlp")
    first, second = getattr(hidden, "fc1", None), getattr(hidden, "fc2", None)
    if not (isinstance(norm, nn.LayerNorm) and isinstance(first, nn.Linear) and isinstance(second, nn.Linear)):
        return None
    plain = norm.bias is not None and first.bias is not None and isinstance(getattr(hidden, "norm", None), nn.Identity)
    # A gate takes half of the channels for itself.
    return _HiddenLayer(norm, first, second) if plain and first.out_features == second.in_features else None


def _sizes(encoder: Encoder, products: Sequence[nn.Linear], pictures: Tensor) -> list[Tensor]:
    """Return for each product the root of the mean square of each channel that enters it."""
    sums = [torch.zeros(product.in_features) for product in products]

    def watch(place: int) -> Any:
        def seen(_: nn.Module, entering: tuple[Tensor, ...]) -> None:
            sums[place] += entering[0].flatten(0, -2).square().mean(dim=0)

        return seen

    hooks = [product.register_forward_pre_hook(watch(place)) for place, product in enumerate(products)]
    try:
        with torch.inference_mode():
            for picture in pictures:
                encoder(picture[None])
    finally:
        for hook in hooks:
            hook.remove()
    return [(total / len(pictures)).sqrt().clamp_min(_LEAST) for total in sums]
