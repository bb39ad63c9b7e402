"""Attention in bfloat16 on processors, a block of queries at a time.

torch's own kernel for processors computes attention in bfloat16 no faster than in float32, while their matrix products
in bfloat16 are several times faster: on long token sequences that is most of the time of a ViT.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SCORES = 4 * 2**20  # at most held at once, but for one step of queries: 8 MiB, which the processor's cache holds
BLOCK_STEP = 64  # queries
_LEAST_SUM, _MOST_SUM = 1e-20, 1e30  # between them no weight that counts is lost to the range of the exponent


class BlockwiseAttention(TorchFunctionMode):
    """Within it, plain attention without gradients on bfloat16 tensors of a CPU is computed by `blockwise_attention`.

    Any other call is left to torch.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func is F.scaled_dot_product_attention and _fits(*args, **(kwargs or {})):
            return blockwise_attention(*args[:3])
        return func(*args, **(kwargs or {}))


def _fits(query: Tensor, *others: Any, **options: Any) -> bool:
    plain = len(others) == 2 and not any(options.values())  # no mask, no dropout, not causal
    on_cpu = query.device.type == "cpu" and query.dtype == torch.bfloat16
    return plain and on_cpu and query.ndim == 4 and not torch.is_grad_enabled()


def blockwise_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(query key^T / sqrt(d)) value.

    The mean key is taken off the keys, which moves all scores of a query alike and so changes nothing but their size
    (from 300 to under 90 in a DINOv2) and rounding. They are then exponentiated as they are, as bfloat16 reaches as far
    as float32, and a column of ones beside the values sums the weights in the same product. Where a sum says that
    scores were out of reach, the block is done by softmax.

    Args:
        query: (b, heads, n, d).
        key: (b, heads, m, d).
        value: (b, heads, m, e).

    Returns:
        (b, heads, n, e).
    """
    images, heads, length, _ = query.shape
    row = heads * key.shape[2]  # scores of one query over all heads
    block = max(BLOCK_STEP, SCORES // row // BLOCK_STEP * BLOCK_STEP)
    scores = query.new_empty(min(block, length) * row)
    query = query * (math.log2(math.e) * query.shape[-1] ** -0.5)  # powers of two are quicker than those of e
    key = key - key.mean(dim=2, keepdim=True)
    value = F.pad(value, (0, 1), value=1.0)
    result = query.new_empty(*query.shape[:3], value.shape[-1] - 1)
    for image in range(images):
        keys, values = key[image].transpose(-2, -1).contiguous(), value[image].contiguous()
        for start in range(0, length, block):
            queries = query[image, :, start : start + block]
            held = scores[: queries.shape[1] * row].view(heads, queries.shape[1], -1)
            torch.bmm(queries, keys, out=held)
            found = torch.bmm(held.exp2_(), values)
            weighted, sums = found[..., :-1], found[..., -1:]
            if _out_of_reach(sums):
                weights = torch.softmax(queries @ keys * math.log(2.0), dim=-1)
                weighted, sums = torch.bmm(weights, values[..., :-1]), sums.new_ones(())
            torch.div(weighted, sums, out=result[image, :, start : start + block])
    return result


def _out_of_reach(sums: Tensor) -> bool:
    low, high = sums.aminmax()
    return not (low > _LEAST_SUM and high < _MOST_SUM)  # also where a sum is no number
