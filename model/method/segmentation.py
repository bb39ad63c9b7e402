"""What the decoder says of photos: multi-scale logits, and maps of the tagged classes; `segmentation_map` refines them.

References:
    ToCo, section 4.1 (inference of the segmentation branch).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from toco.model.errors import InvalidOption
from toco.model.method.cams import resize, scaled_input


def multi_scale_logits(
    decode: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    channels: Sequence[int] | None = None,
    scales: Sequence[float] = (1.0, 1.25, 1.5),
    flip: bool = True,
) -> Tensor:
    """Return decoder logits at the input size: straight and mirrored summed, maximum over scales.

    Args:
        decode: runs the network on (b, 3, H, W) and gives (b, C + 1, h, w) logits, channel 0 background.
        images: (b, 3, H, W) network input.
        channels: the decoder channels to keep, in this order; None keeps all.
        scales: factors of (H, W), truncated to whole pixels.
        flip: also run the mirrored images.

    Returns:
        (b, K, H, W) float32.

    Raises:
        InvalidOption: no scale is given.
    """
    best: Tensor | None = None
    for scale in scales:
        logits = decode(scaled_input(images, scale, flip=flip)).float()
        if channels is not None:
            logits = logits[:, list(channels)]
        logits = resize(logits, images.shape[-2:])
        if flip:
            straight, mirrored = logits.chunk(2)
            logits = straight + mirrored.flip(-1)
        best = logits if best is None else torch.maximum(best, logits)
    if best is None:
        raise InvalidOption("No scale to run the decoder at.", fix="Give one scale or more, such as 1.0.")
    return best


def object_maps(logits: Tensor, channels: Sequence[int]) -> Tensor:
    """Return where the decoder sees any object, and which of some classes it sees there.

    Where it mistakes an object for an absent class, that is still an object. (Dropping absent channels before the
    softmax, as segmentation maps do, gives such an object to the background.)

    Args:
        logits: (b, C + 1, h, w), channel 0 background.
        channels: K classes, 0 the first one after background.

    Returns:
        (b, 1 + K, h, w) float32 in 0..1: the foreground, then the probability of each class.
    """
    probabilities = logits.float().softmax(dim=1)
    classes = probabilities[:, [channel + 1 for channel in channels]]
    return torch.cat([1.0 - probabilities[:, :1], classes], dim=1)


def gated_probabilities(logits: Tensor, channels: Sequence[int]) -> Tensor:
    """Return what the decoder says of some classes, if it has to choose between them and background.

    Args:
        logits: (b, C + 1, h, w), channel 0 background.
        channels: K classes, 0 the first one after background.

    Returns:
        (b, K, h, w) float32 in 0..1; with background they would sum to 1.
    """
    kept = logits.float()[:, [0, *(channel + 1 for channel in channels)]]
    return kept.softmax(dim=1)[:, 1:]


def share_of_scale(maps: Tensor, size: Sequence[int], *, scales: int, flip: bool) -> Tensor:
    """Return one scale's share (1, k, H, W) in the mean over so many scales of maps (n, k, h, w) of one image.

    Args:
        maps: of the image, followed by those of its mirrored copy with `flip`.
        size: (H, W).
        scales: how many.
        flip: take the mean of both, the second un-mirrored.
    """
    if flip:
        straight, mirrored = maps.chunk(2)
        maps = (straight + mirrored.flip(-1)) / 2
    return resize(maps, size) / scales
