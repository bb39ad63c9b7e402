"""What an annotation says of a photo's pixels, and what it does not."""

import numpy as np

from toco.model.formats.label_studio import encode_brush_rle
from toco.model.photos.classes import VOC
from toco.service.label_studio.annotations import mask_of_annotation
from toco.service.label_studio.labelling_config import parse_labelling_config

CONFIG = parse_labelling_config(
    """<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">
    <Label value="cat"/><Label value="Vehicle" predicted_values="car,bus"/><Label value="mug"/></BrushLabels></View>"""
)
CAT, CAR, BUS = 8, 7, 6


def stroke(label: str, columns: slice) -> dict:
    mask = np.zeros((4, 8), bool)
    mask[:, columns] = True
    value = {"format": "rle", "rle": encode_brush_rle(mask), "brushlabels": [label]}
    return {"type": "brushlabels", "original_height": 4, "original_width": 8, "image_rotation": 0, "value": value}


def read(*regions, tags=("cat",), before=None):
    before = np.zeros((4, 8), np.uint8) if before is None else before
    return mask_of_annotation(regions, before, config=CONFIG, vocabulary=VOC, tags=tags)


def test_later_regions_lie_over_earlier_ones_and_the_rest_is_background():
    found = read(stroke("cat", slice(0, 4)), stroke("Vehicle", slice(2, 6)), tags=("cat", "bus"))
    assert found.mask[0].tolist() == [CAT, CAT, BUS, BUS, BUS, BUS, 0, 0]
    assert found.unknown == ()


def test_what_was_open_and_nobody_drew_on_stays_open():
    before = np.full((4, 8), 255, np.uint8)
    before[:, 6:] = CAT
    assert read(stroke("cat", slice(0, 2)), before=before).mask[0].tolist() == [CAT, CAT, 255, 255, 255, 255, 0, 0]


def test_labels_that_mean_no_class_or_several_are_open():
    found = read(stroke("mug", slice(0, 2)), stroke("Vehicle", slice(2, 4)), tags=("car", "bus"))
    assert found.mask[0].tolist() == [255, 255, 255, 255, 0, 0, 0, 0]
    assert found.unknown == ("mug", "Vehicle")
    assert read(stroke("Vehicle", slice(0, 8)), tags=("car",)).mask[0, 0] == CAR


def test_an_annotation_without_a_region_is_no_mask():
    assert read() is None
    assert read({"type": "choices", "value": {"choices": ["cat"]}}) is None
