"""The dense CRF of Kraehenbuehl and Koltun's own C++ code, by way of pydensecrf: the reference."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydensecrf.densecrf import DIAG_KERNEL, NORMALIZE_SYMMETRIC, DenseCRF2D

from toco.model.crf.backend import CrfBackend
from toco.model.crf.inputs import checked_image, checked_probabilities, unary_energy
from toco.model.crf.settings import CrfSettings


@dataclass(frozen=True, eq=False)
class PydensecrfCrf:
    """A `DenseCrf` that builds everything anew for each problem: the library ties kernels to the number of classes.

    Attributes:
        image: (H, W, 3) uint8.
    """

    settings: CrfSettings
    image: NDArray[np.uint8]

    def infer(self, probabilities: NDArray[Any]) -> NDArray[np.float32]:
        """See `DenseCrf.infer`."""
        problems = checked_probabilities(probabilities, *self.image.shape[:2])
        return np.stack([self._infer(unary_energy(problem)) for problem in problems]).reshape(probabilities.shape)

    def _infer(self, energy: NDArray[np.float32]) -> NDArray[np.float32]:
        classes, height, width = energy.shape
        settings = self.settings
        crf = DenseCRF2D(width, height, classes)
        crf.setUnaryEnergy(energy.reshape(classes, -1))
        kind = {"kernel": DIAG_KERNEL, "normalization": NORMALIZE_SYMMETRIC}
        if settings.gaussian_weight:
            crf.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_weight, **kind)
        if settings.bilateral_weight:
            crf.addPairwiseBilateral(
                sxy=settings.bilateral_sxy,
                srgb=settings.bilateral_srgb,
                rgbim=self.image,
                compat=settings.bilateral_weight,
                **kind,
            )
        return np.array(crf.inference(settings.iterations), np.float32).reshape(energy.shape)


class PydensecrfBackend(CrfBackend):
    """Computes with pydensecrf."""

    name: ClassVar[str] = "pydensecrf"

    def prepare(self, image: NDArray[np.uint8], settings: CrfSettings) -> PydensecrfCrf:
        """See `CrfBackend.prepare`."""
        return PydensecrfCrf(settings, checked_image(image))
