"""Segmentation maps: the decoder's probabilities, refined by the dense CRF. Knows no torch.

References:
    ToCo, section 4.1 (inference of the segmentation branch).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from toco.model.crf.backend import CrfBackend
from toco.model.crf.settings import SEGMENTATION_CRF, CrfSettings
from toco.model.photos.classes import BACKGROUND


def segmentation_map(
    image: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    indices: Sequence[int],
    *,
    backend: CrfBackend,
    settings: CrfSettings | None = SEGMENTATION_CRF,
) -> npt.NDArray[np.uint8]:
    """Turn decoder probabilities into a segmentation map.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (K + 1, H, W) float32 that sum to 1; channel 0 is background.
        indices: K mask indices.
        backend: the dense CRF.
        settings: of the dense CRF; None takes the plain argmax.

    Returns:
        (H, W) uint8 mask indices.
    """
    values: npt.NDArray[np.uint8] = np.array([BACKGROUND, *indices], np.uint8)
    if len(values) > 1 and settings is not None:
        probabilities = backend.prepare(image, settings).infer(probabilities)
    best: npt.NDArray[np.uint8] = values[probabilities.argmax(axis=0)]
    return best
