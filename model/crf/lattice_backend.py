"""Our own dense CRF: lattices and mean field in compiled code, equal to pydensecrf and several times faster.

Source: Kraehenbuehl and Koltun (NIPS 2011); see `permutohedral`, `pixel_lattice` and `mean_field`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import float32, uint64
from numpy.typing import NDArray

from toco.model.crf.backend import CrfBackend
from toco.model.crf.compiled import compiled
from toco.model.crf.inputs import checked_image, checked_probabilities, unary_energy
from toco.model.crf.mean_field import mean_field
from toco.model.crf.permutohedral import Lattice, build_lattice
from toco.model.crf.pixel_lattice import CACHE_BYTES, PixelLatticeCache
from toco.model.crf.settings import CrfSettings


@dataclass(frozen=True, eq=False)
class LatticeCrf:
    """A `DenseCrf` with both lattices built.

    Attributes:
        spatial, bilateral: lattices over the pixels in row-major order.
        height, width: image size, pixels.
    """

    settings: CrfSettings
    spatial: Lattice
    bilateral: Lattice
    height: int
    width: int

    def infer(self, probabilities: NDArray[Any]) -> NDArray[np.float32]:
        """See `DenseCrf.infer`."""
        problems = checked_probabilities(probabilities, self.height, self.width)
        groups, classes = problems.shape[:2]
        marginals = mean_field(
            unary_energy(problems).reshape(groups, classes, -1),
            spatial=self.spatial,
            bilateral=self.bilateral,
            compatibility=(self.settings.gaussian_weight, self.settings.bilateral_weight),
            iterations=self.settings.iterations,
        )
        return marginals.reshape(probabilities.shape)


class LatticeBackend(CrfBackend):
    """Builds `LatticeCrf`; keeps the spatial lattices of the image sizes last seen.

    Args:
        cache_bytes: memory for spatial lattices, bytes.
    """

    name: ClassVar[str] = "lattice"

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._pixel_lattices = PixelLatticeCache(cache_bytes)

    def prepare(self, image: NDArray[np.uint8], settings: CrfSettings) -> LatticeCrf:
        """See `CrfBackend.prepare`."""
        pixels = checked_image(image)
        height, width = pixels.shape[:2]
        return LatticeCrf(
            settings,
            spatial=self._pixel_lattices.get(width, height, settings.gaussian_sxy),
            bilateral=build_lattice(
                _bilateral_features(pixels, np.float32(settings.bilateral_sxy), np.float32(settings.bilateral_srgb))
            ),
            height=height,
            width=width,
        )


@compiled
def _bilateral_features(image: NDArray[np.uint8], sxy: Any, srgb: Any) -> NDArray[np.float32]:
    """Column, row, red, green and blue of each pixel over the standard deviations, (5, H * W) float32."""
    height, width = image.shape[:2]
    features = np.empty((5, height * width), np.float32)
    for y in range(height):
        for x in range(width):
            p = uint64(y * width + x)
            features[0, p] = float32(x) / sxy
            features[1, p] = float32(y) / sxy
            for channel in range(3):
                features[2 + channel, p] = float32(image[y, x, channel]) / srgb
    return features
