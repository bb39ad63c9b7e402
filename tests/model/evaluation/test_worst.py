"""`WorstPhotos`: which photos are worst, and the sheet of them."""

import numpy as np
import pytest
from PIL import Image

from toco.model.evaluation.evaluate import Sample
from toco.model.evaluation.worst import WorstPhotos, photo_iou
from toco.model.photos.classes import IGNORE, VOC

JUDGED = VOC.subset(["cat", "dog"])


def rows(*values):
    return np.array([values], np.int16)


@pytest.mark.parametrize(
    ("truth", "mask", "iou"),
    [
        (rows(0, 1, 1, 1), rows(0, 1, 1, 1), 1.0),
        (rows(0, 1, 1, 0), rows(1, 1, 0, 0), 1 / 3),
        (rows(2, 2, 1, 1), rows(2, 2, 0, 0), 0.5),  # the mean of both classes
        (rows(0, 1, IGNORE, IGNORE), rows(0, 1, 1, 1), 1.0),  # what the truth leaves open counts for nothing
        (rows(0, 1), rows(0, IGNORE), 0.0),  # what the mask leaves open is not found
        (rows(0, 0), rows(0, 1), None),
    ],
)
def test_the_iou_of_a_photo_is_the_mean_over_the_classes_that_it_shows(truth, mask, iou):
    assert photo_iou(truth, mask) == (None if iou is None else pytest.approx(iou))


def test_the_worst_are_kept_and_drawn_worst_first(tmp_path):
    worst = WorstPhotos(2, JUDGED)
    for name, grey, found in (("good", 30, 4), ("bad", 60, 0), ("fair", 90, 2)):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 20), (grey, grey, grey)).save(path)
        truth = np.zeros((20, 40), np.int16)
        truth[:, :4] = 1
        mask = np.zeros_like(truth)
        mask[:, :found] = 1
        worst.update(Sample(name, path, lambda: np.zeros((20, 40), np.uint8), tags=("cat",)), truth, mask)
    assert list(worst.names().items()) == [("bad.png", 0.0), ("fair.png", 0.5)]
    worst.write_sheet(tmp_path / "sheets" / "worst.png", cell=40)
    sheet = np.asarray(Image.open(tmp_path / "sheets" / "worst.png"))
    assert sheet.shape[1] > 2 * 3 * 40
    first, second = sheet[22:42, 6:46], sheet[22:42, 6 + 129 : 6 + 169]
    assert (first == 60).all()
    assert (second == 90).all()
