"""Class activation maps as pictures that a browser can read."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def cam_png(cam: npt.NDArray[np.float16]) -> bytes:
    """Encode one map as an 8-bit grey PNG.

    Args:
        cam: (h, w) float16 in 0..1.

    Returns:
        PNG; value 255 is score 1.
    """
    file = io.BytesIO()
    grey = np.round(np.clip(cam.astype(np.float32), 0.0, 1.0) * 255.0).astype(np.uint8)
    Image.fromarray(grey).save(file, "PNG", compress_level=1)
    return file.getvalue()
