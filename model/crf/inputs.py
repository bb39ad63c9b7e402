"""Checks of what goes into the dense CRF, and the unary term."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toco.model.crf.settings import PROBABILITY_FLOOR
from toco.model.errors import InvalidArray

# Rounding of a float16 softmax may exceed 1.
PROBABILITY_SLACK = 1e-3


def checked_image(image: NDArray[Any]) -> NDArray[np.uint8]:
    """The image as a C-contiguous, writable (H, W, 3) uint8 array, copied only if need be.

    Raises:
        InvalidArray: another shape or dtype, or no pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise InvalidArray(
            f"The CRF's image has shape {image.shape} and dtype {image.dtype}.",
            fix="Give an RGB image as (H, W, 3) uint8.",
        )
    # Writable because pydensecrf insists, and because numba would compile its kernels anew for a read-only array.
    return np.require(image, requirements=["C_CONTIGUOUS", "WRITEABLE"])


def checked_probabilities(probabilities: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """Class probabilities as (g, K, H, W) float32.

    Args:
        probabilities: (K, H, W) or (g, K, H, W), any float dtype, K >= 2, softmax over K.
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        InvalidArray: another shape or dtype, or values outside 0..1.
    """
    shape = probabilities.shape
    if len(shape) not in (3, 4) or shape[-3] < 2 or shape[-2:] != (height, width) or shape[0] == 0:
        raise InvalidArray(
            f"The CRF's probabilities have shape {shape}, its image is {(height, width)}.",
            fix="Give (K, H, W), or several problems as (g, K, H, W), with K >= 2 and the image's height and width.",
        )
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise InvalidArray(f"The CRF's probabilities have dtype {probabilities.dtype}.", fix="Give floats in 0..1.")
    least, most = float(probabilities.min()), float(probabilities.max())
    if not (least >= 0.0 and most <= 1.0 + PROBABILITY_SLACK):
        raise InvalidArray(f"The CRF's probabilities range from {least} to {most}.", fix="Take the softmax first.")
    return np.asarray(probabilities, np.float32).reshape(-1, *shape[-3:])


def unary_energy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Energy -log(p) with p held in `PROBABILITY_FLOOR`..1: pydensecrf's `unary_from_softmax` with its defaults."""
    energy: NDArray[np.float32] = np.clip(probabilities, np.float32(PROBABILITY_FLOOR), np.float32(1.0))
    np.log(energy, out=energy)
    np.negative(energy, out=energy)
    return energy
