"""Pixels that may show something that was named but is not known: they are left open, never called background.

A photo is tagged `person` and `mug`, and the model knows no mugs. Where it sees an object that is no person, the mug
may be. Not in the paper.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray
from toco.model.photos.classes import BACKGROUND, IGNORE

MAYBE_OBJECT: Final = 0.1
"""Over it a pixel may show an object. `benchmarks/open_words.py`: lower than the threshold of sure background, since
what the network has never seen is not what it is sure of."""


def unclaimed(objects: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return how surely each pixel shows an object of none of the tagged classes.

    Args:
        objects: (1 + K, H, W) float32 in 0..1, as `segmentation.object_maps` gives them: the foreground, then each of
            the tagged classes.

    Returns:
        (H, W) float32 in 0..1.
    """
    return np.asarray(np.clip(objects[0] - objects[1:].sum(axis=0), 0.0, 1.0), np.float32)


def leave_open(
    mask: npt.NDArray[np.uint8],
    indices: Sequence[int],
    objects: npt.NDArray[np.float32] | None,
    *,
    level: float = MAYBE_OBJECT,
) -> npt.NDArray[np.uint8]:
    """Leave every pixel open that a word may own which is not understood.

    Args:
        mask: (H, W) uint8 mask indices, 0 background, 255 ignore.
        indices: mask indices of the tagged classes that are known.
        objects: (1 + K, H, W) float32 in 0..1, see `unclaimed`; None where no tagged class is known: then nothing is.
        level: over it (0..1) a pixel may show an object.

    Returns:
        (H, W) uint8: the pixels of the tagged classes stay theirs, what is object-like is open, the rest stays.

    Raises:
        InvalidArray: the sizes differ.
    """
    if objects is None or not len(indices):
        return np.full(mask.shape, IGNORE, np.uint8)
    if objects.ndim != 3 or objects.shape[1:] != mask.shape or objects.shape[0] != 1 + len(indices):
        raise InvalidArray(
            f"Object maps {objects.shape}, mask {mask.shape}, {len(indices)} classes.", fix="Give (1 + K, H, W)."
        )
    claimed = np.isin(mask, indices) if len(indices) else np.zeros(mask.shape, bool)
    background = (mask == BACKGROUND) & (objects[0] <= level)
    return np.where(claimed | background, mask, np.uint8(IGNORE))
