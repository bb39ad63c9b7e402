"""The one colour map: VOC's, for palette PNGs, overlays, legends and charts."""

import numpy as np
import numpy.typing as npt


def voc_palette() -> npt.NDArray[np.uint8]:
    """Return the VOC colour map.

    Returns:
        (256, 3) uint8 RGB; row i is the colour of mask index i. Row 0 is black, row 255 the cream of "void".

    References:
        VOC 2012 development kit, `VOClabelcolormap`: bit j of each channel taken from index bits 3j, 3j+1, 3j+2.
    """
    index = np.arange(256, dtype=np.uint32)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE: npt.NDArray[np.uint8] = voc_palette()
PALETTE.setflags(write=False)
