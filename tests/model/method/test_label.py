"""A label's own arithmetic: sizes, ignore ratio and the report on its classes."""

import numpy as np
import pytest

from toco.model.method.label import Label
from toco.model.options import preset_options
from toco.model.photos.classes import VOC
from toco.model.photos.images import DecodedImage
from toco.model.spec import BackboneSpec, ModelSpec

SPEC = ModelSpec(name="drawn", backbone=BackboneSpec(name="vit"), classes=VOC.classes)
COMPLETE = SPEC.completed(preset_options("fast"))


def label(mask, cams, tags, probabilities):
    return Label(
        vocabulary=VOC,
        tags=tags,
        tag_source="user",
        words=(),
        cams=np.array(cams, np.float32).reshape(len(tags), *np.shape(cams)[1:]),
        pseudo_mask=np.array(mask, np.uint8),
        segmentation=None,
        tag_probabilities=np.array(probabilities, np.float32),
        photo=DecodedImage(np.zeros((2, 2, 3), np.uint8), (2, 2)),
        options=COMPLETE,
    )


def test_ignore_ratio_and_size():
    found = label([[0, 255, 255, 8], [0, 0, 0, 0]], [[[1, 0], [0, 0]]], ("cat",), [0.9])
    assert found.size == (2, 4)
    assert found.ignore_ratio == 0.25


def test_class_report_counts_pixels_and_averages_scores_inside():
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, :2] = 8  # the top left quarter
    cams = [[[0.75, 0.25], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.125]]]
    cat, dog = label(mask, cams, ("cat", "dog"), [0.9, 0.2]).class_report()
    assert cat == {
        "name": "cat", "index": 8, "area": 4, "area_ratio": 0.25, "score": 0.75, "peak": 0.75,
        "tag_probability": pytest.approx(0.9),
    }  # fmt: skip
    assert (dog["area"], dog["score"], dog["peak"]) == (0, 0.0, 0.125)


def test_a_photo_of_nothing_has_an_empty_report():
    empty = Label(VOC, (), "user", (), np.zeros((0, 2, 2), np.float32), np.zeros((2, 2), np.uint8), None,
                  np.zeros(0, np.float32), DecodedImage(np.zeros((2, 2, 3), np.uint8), (2, 2)), COMPLETE)  # fmt: skip
    assert empty.class_report() == []
    assert empty.ignore_ratio == 0.0
