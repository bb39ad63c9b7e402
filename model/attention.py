"""Attention in bfloat16 on processors, a block of queries at a time.

torch's own kernel for processors computes attention in bfloat16 no faster than in float32, while their matrix products
in bfloat16 are several times faster: on long token sequences that is most of the time of a ViT.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

BLOCK = 256  # queries whose scores are held at once: a few MiB, which the processor's cache holds


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

    Args:
        query: (b, heads, n, d).
        key: (b, heads, m, d).
        value: (b, heads, m, e).

    Returns:
        (b, heads, n, e).
    """
    query = query * query.shape[-1] ** -0.5
    result = query.new_empty(*query.shape[:3], value.shape[-1])
    for image in range(query.shape[0]):
        keys, values = key[image].transpose(-2, -1).contiguous(), value[image].contiguous()
        for start in range(0, query.shape[2], BLOCK):
            scores = query[image, :, start : start + BLOCK] @ keys
            result[image, :, start : start + BLOCK] = scores.softmax(dim=-1) @ values
    return result
