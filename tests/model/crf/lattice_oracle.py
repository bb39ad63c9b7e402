"""The permutohedral lattice in plain Python, a point and a corner at a time, straight from Adams et al. (2010)."""

import numpy as np


def simplex(feature):
    """The d + 1 corners (tuples of d + 1 whole numbers) around a point, each with its barycentric weight."""
    d = len(feature)
    scaled = [
        float(value) * np.sqrt(2 / 3) * (d + 1) / np.sqrt((axis + 1) * (axis + 2)) for axis, value in enumerate(feature)
    ]
    elevated = np.array([sum(scaled[i:]) - (i * scaled[i - 1] if i else 0) for i in range(d + 1)])
    nearest = (d + 1) * np.rint(elevated / (d + 1))
    excess = round(nearest.sum() / (d + 1))
    offsets = elevated - nearest
    for _ in range(abs(excess)):  # off the plane: step back the coordinate that rounding moved most
        axis = offsets.argmin() if excess > 0 else offsets.argmax()
        nearest[axis] -= np.sign(excess) * (d + 1)
        offsets = elevated - nearest
    order = np.argsort(-offsets, kind="stable")  # coordinates by descending offset
    ordered = offsets[order] / (d + 1)
    corners = []
    for remainder in range(d + 1):
        corner = nearest + remainder
        corner[order[d + 1 - remainder :]] -= d + 1
        weight = (
            1 - (ordered[0] - ordered[d]) if remainder == 0 else ordered[d - remainder] - ordered[d + 1 - remainder]
        )
        corners.append((tuple(int(k) for k in corner), weight))
    return corners


def filter_values(features, values):
    """The unnormalised filter of values (n,) at features (n, d): splat, blur along each direction, slice."""
    d = features.shape[1]
    simplices = [simplex(feature) for feature in features]
    held = {}
    for corners, value in zip(simplices, values, strict=True):
        for corner, weight in corners:
            held[corner] = held.get(corner, 0.0) + weight * value
    for direction in range(d + 1):
        step = np.ones(d + 1, int)
        step[direction] -= d + 1
        held = {
            corner: value + 0.5 * sum(held.get(tuple(int(k) for k in corner + sign * step), 0.0) for sign in (1, -1))
            for corner, value in held.items()
        }
    gain = 1 / (1 + 2.0**-d)
    return np.array([gain * sum(weight * held[corner] for corner, weight in corners) for corners in simplices])


def normalised_filter(features, values):
    """`filter_values` with symmetric normalisation, as pydensecrf's NORMALIZE_SYMMETRIC."""
    factor = 1 / np.sqrt(filter_values(features, np.ones(len(features))))
    return factor * filter_values(features, factor * values)
