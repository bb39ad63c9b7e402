"""Where the pixels of a request come from, and back to the photo's own size."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray
from toco.model.photos.images import DecodedImage, Opener, read_image

Source = bytes | Path | Opener | npt.NDArray[np.uint8]


def load_source(source: Source, long_side: int) -> DecodedImage:
    """Return the pixels of a request, shrunk to a long side in pixels at most.

    Raises:
        InvalidArray: pixels of another shape or dtype than (H, W, 3) uint8.
        TocoError: what is wrong with the file.
    """
    if isinstance(source, bytes | Path):
        return read_image(source, long_side=long_side)
    if not isinstance(source, np.ndarray):
        return source(long_side)
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or not source.size:
        raise InvalidArray(f"Pixels of shape {source.shape}, {source.dtype}.", fix="Give (H, W, 3) uint8 RGB.")
    height, width = source.shape[:2]
    factor = long_side / max(height, width)
    pixels = source
    if factor < 1.0:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return DecodedImage(np.ascontiguousarray(pixels), (height, width))


def to_size(mask: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize a mask to (H, W) by nearest neighbour; class indices must not be mixed."""
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.uint8)
