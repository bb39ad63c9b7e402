"""The photos whose masks are worst, as a sheet of pictures: figures say how much is wrong, pictures say what."""

import heapq
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.images import read_image
from toco.model.photos.pictures import overlay_picture

Rows = npt.NDArray[np.int16]

_ABREAST: Final = 3  # photos
_GAP: Final = 6
_CAPTION: Final = 20


def photo_iou(truth: Rows, prediction: Rows) -> float | None:
    """Return the mean IoU (0..1) over the classes, background not counted, that a photo's truth shows; None if none.

    Args:
        truth: (H, W) rows 0..C, 255 left out.
        prediction: (H, W) columns 0..C, or 255 where open.
    """
    judged = truth != IGNORE
    shown = [int(row) for row in np.unique(truth[judged]) if row != BACKGROUND]
    if not shown:
        return None
    ious = []
    for row in shown:
        own, called = truth == row, (prediction == row) & judged
        ious.append(np.count_nonzero(own & called) / np.count_nonzero(own | called))
    return float(np.mean(ious))


@dataclass(order=True, frozen=True, slots=True)
class _Bad:
    goodness: float  # negative IoU: the heap's smallest is the best of the worst
    name: str
    sample: Sample = field(compare=False)
    truth: Rows = field(compare=False)
    prediction: Rows = field(compare=False)


class WorstPhotos:
    """Keeps the photos of the lowest `photo_iou`.

    Args:
        count: how many.
        judged: the C evaluated classes, whose row of truth and prediction is their place and one.
    """

    def __init__(self, count: int, judged: Vocabulary) -> None:
        self._count = count
        self._judged = judged
        self._heap: list[_Bad] = []

    def update(self, sample: Sample, truth: Rows, prediction: Rows) -> None:
        """Look at a photo; its masks are (H, W) rows 0..C, or 255."""
        iou = photo_iou(truth, prediction)
        if iou is None:
            return
        heapq.heappush(self._heap, _Bad(-iou, str(sample.image), sample, truth, prediction))
        if len(self._heap) > self._count:
            heapq.heappop(self._heap)

    def names(self) -> dict[str, float]:
        """Return file names and IoU (0..1), the worst first."""
        return {Path(bad.name).name: -bad.goodness for bad in sorted(self._heap, reverse=True)}

    def write_sheet(self, file: Path, *, cell: int = 220) -> None:
        """Write the sheet: photo, truth and mask of each, the worst first.

        Args:
            file: a picture; its suffix says in which format.
            cell: greatest width and height of one picture in pixels.
        """
        worst = sorted(self._heap, reverse=True)
        band, height = 3 * (cell + 1) + _GAP, cell + _CAPTION
        lines = -(-len(worst) // _ABREAST)
        sheet = Image.new("RGB", (_ABREAST * band + _GAP, max(1, lines) * height + _GAP), (250, 250, 250))
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
        for place, bad in enumerate(worst):
            left, top = _GAP + place % _ABREAST * band, _GAP + place // _ABREAST * height
            tags = ", ".join(bad.sample.tags or ())
            draw.text((left, top), f"{-bad.goodness:.2f}  {Path(bad.name).stem}  {tags}"[:80], (20, 20, 20), font)
            photo = _fitted(read_image(Path(bad.name), long_side=2 * cell).pixels, cell)
            pictures = (photo, *(overlay_picture(photo, self._indices(rows)) for rows in (bad.truth, bad.prediction)))
            for column, picture in enumerate(pictures):
                sheet.paste(Image.fromarray(picture), (left + column * (cell + 1), top + _CAPTION - 4))
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file)

    def _indices(self, rows: Rows) -> npt.NDArray[np.uint8]:
        table = np.full(256, IGNORE, np.uint8)
        table[: len(self._judged) + 1] = (BACKGROUND, *self._judged.indices)
        return table[rows.astype(np.uint8)]


def _fitted(photo: npt.NDArray[np.uint8], cell: int) -> npt.NDArray[np.uint8]:
    scale = cell / max(photo.shape[:2])
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
