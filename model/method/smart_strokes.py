"""Smart strokes: a click or a scribble takes what looks like it.

Each class that has strokes takes the places whose tokens are alike to those under its strokes; all else is left as it
is. The dense CRF then brings the border to the photo's edges, with the strokes themselves held fixed. Needs no torch,
and works on a photo of a bounded size, so that an answer takes a fraction of a second on one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.crf.backend import CrfBackend, DenseCrf
from toco.model.crf.settings import CrfSettings
from toco.model.method.reduced_tokens import ReducedTokens

Point = tuple[float, float]

WORKING_SIDE: Final = 512
"""Longest side in pixels at which the CRF works."""

STROKE_CRF: Final = CrfSettings(
    gaussian_sxy=3.0, gaussian_weight=3.0, bilateral_sxy=36.0, bilateral_srgb=5.0, bilateral_weight=6.0
)

DEFAULT_REACH: Final = 0.4
_STEEPNESS: Final = 12.0  # of the step from unlike to alike
_SURE: Final = 1.0 - 1e-5  # of the places under a stroke
_EPSILON: Final = 1e-6
_LEAST: Final = 0.5  # working pixels: half the width of the thinnest stroke


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line drawn on the photo.

    Attributes:
        value: mask index that it stands for, 0..255.
        width: of the line, photo pixels.
        points: (x, y) in photo pixels, at least one; a single one is a click.
    """

    value: int
    width: float
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StrokeBasis:
    """What strokes on a photo are answered from; immutable, so threads may share it.

    Attributes:
        tokens: (h, w, k) float32 of length 1, the photo's own mean taken out.
        crf: of the photo at its working size.
        working_size: (H, W) of the CRF, pixels.
        photo_size: (H, W) of the photo, pixels.
    """

    tokens: npt.NDArray[np.float32]
    crf: DenseCrf
    working_size: tuple[int, int]
    photo_size: tuple[int, int]


def stroke_basis(
    image: npt.NDArray[np.uint8], tokens: ReducedTokens, photo_size: tuple[int, int], *, backend: CrfBackend
) -> StrokeBasis:
    """Prepare a photo for strokes: the costly part, once a photo.

    Args:
        image: (H, W, 3) uint8 RGB, the whole photo; shrunk to `WORKING_SIDE` where it is larger.
        tokens: of the photo.
        photo_size: (H, W) of the photo in pixels.
        backend: the dense CRF.
    """
    scale = min(1.0, WORKING_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1.0 else image
    vectors = tokens.vectors()
    vectors = _unit(vectors - vectors.mean(axis=(0, 1)))
    return StrokeBasis(vectors, backend.prepare(np.asarray(small, np.uint8), STROKE_CRF), (height, width), photo_size)


def warm_up(backend: CrfBackend) -> None:
    """Have the CRF compiled for strokes of up to three classes, which takes seconds where no compiled code is kept."""
    basis = stroke_basis(
        np.zeros((8, 8, 3), np.uint8),
        ReducedTokens(np.ones((2, 2, 1), np.int8), np.ones(1, np.float32)),
        (8, 8),
        backend=backend,
    )
    strokes = [Stroke(value, 1.0, ((float(value), 1.0),)) for value in range(3)]
    for count in range(1, len(strokes) + 1):
        take_alike(basis, strokes[:count])


def take_alike(
    basis: StrokeBasis, strokes: Sequence[Stroke], *, reach: float = DEFAULT_REACH, touching: bool = True
) -> npt.NDArray[np.int16]:
    """Return what each class's strokes take.

    Args:
        basis: of the photo.
        strokes: all strokes so far; those of other classes hold a class back.
        reach: 0 takes hardly more than the strokes, 1 whatever is faintly alike.
        touching: only what hangs together with a stroke of its class.

    Returns:
        (H, W) int16 at the photo's size: the mask index that a pixel takes, -1 where it stays as it is.
    """
    height, width = basis.photo_size
    taken = np.full((height, width), -1, np.int16)
    values = sorted({stroke.value for stroke in strokes})
    if not values:
        return taken
    drawn = [_drawn([s for s in strokes if s.value == value], basis.working_size, basis.photo_size) for value in values]
    probabilities = np.stack(_probabilities(basis, drawn, reach))
    for position, marks in enumerate(drawn):  # a later class's stroke lies over an earlier one's
        probabilities[:, marks] = (1.0 - _SURE) / len(values)
        probabilities[position + 1, marks] = _SURE
    marginals = basis.crf.infer(probabilities)
    for position, value in enumerate(values):
        others = np.delete(marginals, position + 1, axis=0).max(axis=0)
        lead = marginals[position + 1] - others
        if touching:
            lead = np.where(_touching(lead > 0, drawn[position]), lead, -np.abs(lead))
        taken[cv2.resize(lead, (width, height), interpolation=cv2.INTER_LINEAR) > 0] = value
    for stroke in strokes:
        taken[_drawn([stroke], basis.photo_size, basis.photo_size)] = stroke.value
    return taken


def _probabilities(
    basis: StrokeBasis, drawn: Sequence[npt.NDArray[np.bool_]], reach: float
) -> list[npt.NDArray[np.float32]]:
    """Return how likely each place stays as it is, and takes each class: 1 + n maps (H, W) that sum to 1."""
    grid = basis.tokens.shape[:2]
    height, width = basis.working_size
    alike = []
    for marks in drawn:
        share = cv2.resize(marks.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
        marked = _unit((basis.tokens * share[..., None]).sum(axis=(0, 1)))
        cosine = np.asarray(basis.tokens @ marked, np.float32)
        alike.append(cv2.resize(cosine, (width, height), interpolation=cv2.INTER_LINEAR))
    scores = np.exp(_STEEPNESS * (np.stack(alike) - (1.0 - reach)))
    total = 1.0 + scores.sum(axis=0)
    return [np.asarray(1.0 / total, np.float32), *np.asarray(scores / total, np.float32)]


def _drawn(strokes: Sequence[Stroke], size: tuple[int, int], photo_size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return strokes as pixels (H, W) of a picture of that size; a stroke covers at least one."""
    height, width = size
    scale = (width / photo_size[1], height / photo_size[0])
    canvas = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        points = np.array([(x * scale[0], y * scale[1]) for x, y in stroke.points], np.float64)
        points = np.clip(points, 0, (width - _LEAST, height - _LEAST)).astype(np.int32)
        thickness = max(1, round(stroke.width * (scale[0] * scale[1]) ** 0.5))
        for first, second in zip(points, (*points[1:], points[-1]), strict=True):  # the last one a dot, as is a click
            cv2.line(canvas, first.tolist(), second.tolist(), color=1, thickness=thickness)
    return canvas.astype(bool)


def _touching(won: npt.NDArray[np.bool_], marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the connected parts of a region that hold a marked pixel."""
    count, parts = cv2.connectedComponents(won.astype(np.uint8), connectivity=4)
    kept = np.zeros(count, bool)
    kept[parts[marks & won]] = True
    kept[0] = False
    return np.asarray(kept[parts])


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _EPSILON), np.float32)
