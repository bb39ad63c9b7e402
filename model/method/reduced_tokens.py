"""A photo's patch tokens, small enough to be kept with its label: enough to say which places look alike.

The tokens of length 1 are projected onto the directions in which this photo's tokens are largest (the best linear
projection for their dot products, Eckart and Young 1936), and kept with 8 bits. Needs no torch: the API reads them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray

DIMENSIONS: Final = 64
_LEVELS: Final = 127
_EPSILON: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ReducedTokens:
    """Tokens on a grid of h x w over the whole photo.

    Attributes:
        values: (h, w, k) int8, k of `DIMENSIONS` at most.
        scales: (k,) float32; a token is `values * scales`.
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]

    def vectors(self) -> npt.NDArray[np.float32]:
        """Return the tokens, (h, w, k) float32, of length 1 but for what the reduction lost."""
        return self.values * self.scales


def reduce_tokens(tokens: npt.NDArray[np.floating], dimensions: int = DIMENSIONS) -> ReducedTokens:
    """Reduce a photo's tokens.

    Args:
        tokens: (h, w, d) of any length each.
        dimensions: how many to keep at most.

    Raises:
        InvalidArray: another shape, or no token.
    """
    if tokens.ndim != 3 or not tokens.size:
        raise InvalidArray(f"Tokens of shape {tokens.shape}.", fix="Give (h, w, d) of at least one token.")
    height, width, depth = tokens.shape
    rows = tokens.reshape(height * width, depth).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _EPSILON)
    _, directions = np.linalg.eigh(rows.T @ rows)  # by rising weight
    kept = rows @ directions[:, ::-1][:, : min(dimensions, height * width)]
    scales = np.maximum(np.abs(kept).max(axis=0) / _LEVELS, _EPSILON).astype(np.float32)
    values = np.rint(kept / scales).astype(np.int8)
    return ReducedTokens(values.reshape(height, width, -1), scales)
