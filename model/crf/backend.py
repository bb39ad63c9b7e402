"""The dense CRF behind one small interface, whichever library computes it.

Usage:
    ```
    crf = crf_backend().prepare(image, PSEUDO_MASK_CRF)  # once an image: the costly part that classes do not touch
    high, low = crf.infer(np.stack([softmax_high, softmax_low]))  # several problems at once cost less than one by one
    ```
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from toco.model.crf.settings import CrfSettings


class DenseCrf(Protocol):
    """A dense CRF over one image; immutable, so threads may share it."""

    def infer(self, probabilities: NDArray[Any]) -> NDArray[np.float32]:
        """Mean-field marginals.

        Args:
            probabilities: (K, H, W) softmax over K >= 2 classes, values in 0..1, any float dtype; or several problems
                on the same image as (g, K, H, W).

        Returns:
            float32 of the same shape, sums to 1 over K.

        Raises:
            InvalidArray: the shape, dtype or range is another.
        """


class CrfBackend(ABC):
    """A way to compute dense CRFs. Calls run on the calling thread alone and release the GIL."""

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8], settings: CrfSettings) -> DenseCrf:
        """Build the pairwise terms.

        Args:
            image: (H, W, 3) RGB uint8.
            settings: kernels and number of iterations.

        Raises:
            InvalidArray: the image has another shape or dtype.
            CrfError: the deviations are too small for the image size.
        """

    def infer(
        self, probabilities: NDArray[Any], image: NDArray[np.uint8], settings: CrfSettings
    ) -> NDArray[np.float32]:
        """`prepare` and `DenseCrf.infer` in one."""
        return self.prepare(image, settings).infer(probabilities)
