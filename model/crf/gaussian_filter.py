"""High-dimensional Gaussian filtering by the permutohedral lattice, without normalisation.

References:
    Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (Eurographics 2010).
"""

import numpy as np

from toco.model.crf.compiled import compiled
from toco.model.crf.permutohedral import Index, build_lattice
from toco.model.crf.simplex import Float
from toco.model.errors import InvalidArray

MAX_CHANNELS = 16  # a row of the lattice is handled as one vector of 1, 2, 4, 8 or 16


def gaussian_filter(features: Float, values: Float) -> Float:
    """Sum values over all points, weighted by a Gaussian of their distance in feature space.

    Args:
        features: (d, n) float32, one column a point, divided by the kernel's standard deviations.
        values: (c, n) float32.

    Returns:
        (c, n) float32, approximately in proportion to sum_j exp(-|f_i - f_j|^2 / 2) v_j: the lattice's own kernel is
        a little narrower, so that sums come out smaller by a nearly constant factor (0.65 to 0.9).

    Raises:
        InvalidArray: the numbers of points differ.
        CrfError: the points spread over more lattice cells than keys can tell apart.
    """
    if features.ndim != 2 or values.ndim != 2 or features.shape[1] != values.shape[1]:
        raise InvalidArray(f"Features {features.shape}, values {values.shape}.", fix="Give (d, n) and (c, n).")
    lattice = build_lattice(np.ascontiguousarray(features, np.float32))
    # The lattice carries the square root of its normalisation in each point's weights; dividing by their sum gives
    # the plain barycentric weights back.
    weights = lattice.weights / lattice.weights.sum(axis=1, keepdims=True)
    gain = np.float32(1.0 / (1.0 + 2.0 ** -features.shape[0]))
    result = np.empty_like(values, dtype=np.float32)
    for start in range(0, values.shape[0], MAX_CHANNELS):
        part = values[start : start + MAX_CHANNELS]
        lanes = 1 << (part.shape[0] - 1).bit_length()
        padded = np.zeros((values.shape[1], lanes), np.float32)
        padded[:, : part.shape[0]] = part.T
        grid = np.zeros((lattice.size, lanes), np.float32)
        _splat(lattice.corners, weights, padded, grid)
        lattice.blur(grid)
        _slice(lattice.corners, weights, grid, padded)
        result[start : start + MAX_CHANNELS] = gain * padded[:, : part.shape[0]].T
    return result


@compiled
def _splat(corners: Index, weights: Float, values: Float, grid: Float) -> None:
    for point in range(corners.shape[0]):
        for corner in range(corners.shape[1]):
            for channel in range(values.shape[1]):
                grid[corners[point, corner], channel] += weights[point, corner] * values[point, channel]


@compiled
def _slice(corners: Index, weights: Float, grid: Float, values: Float) -> None:
    for point in range(corners.shape[0]):
        for channel in range(values.shape[1]):
            total = np.float32(0)
            for corner in range(corners.shape[1]):
                total += weights[point, corner] * grid[corners[point, corner], channel]
            values[point, channel] = total
