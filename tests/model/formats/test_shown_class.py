"""What formats share of a class of a mask is found once, and is what each would find alone."""

import numpy as np
import pytest

from toco.model.formats.item import LabelledItem, MaskChoice
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import connected_regions
from toco.model.formats.rle import encode_rle, overlap
from toco.model.formats.shown_class import ShownClass
from toco.model.photos.classes import VOC

CAT, DOG = VOC.classes[VOC.channel("cat")], VOC.classes[VOC.channel("dog")]


@pytest.fixture
def mask():
    """A cat with a hole, a second region that touches it at a corner, and a dog."""
    mask = np.zeros((40, 50), np.uint8)
    mask[5:20, 5:20] = CAT.index
    mask[10:13, 10:13] = 0
    mask[20:25, 20:25] = CAT.index
    mask[30:, :] = DOG.index
    return mask


def shown(entry, mask):
    return ShownClass(entry, mask, entry.index, int((mask == entry.index).sum()))


def test_each_part_is_what_it_is_alone(mask):
    cat, pixels = shown(CAT, mask), mask == CAT.index
    assert np.array_equal(cat.pixels, pixels)
    assert cat.rle == encode_rle(pixels)
    found, alone = cat.polygons(tolerance=1.0, min_area=0), mask_to_polygons(pixels, tolerance=1.0)
    assert [polygon.bridged().tolist() for polygon in found] == [polygon.bridged().tolist() for polygon in alone]
    assert cat.overlap(tolerance=1.0, min_area=0) == overlap(encode_rle(pixels), int(pixels.sum()), alone)


def test_a_second_format_gets_what_the_first_one_found(mask):
    cat = shown(CAT, mask)
    assert cat.rle is cat.rle
    assert cat.polygons(tolerance=1.0, min_area=4) is cat.polygons(tolerance=1.0, min_area=4)
    assert cat.overlap(tolerance=1.0, min_area=4) is cat.overlap(tolerance=1.0, min_area=4)
    assert len(cat.polygons(tolerance=0.0, min_area=9)[0].holes) == 1
    assert len(cat.polygons(tolerance=0.0, min_area=10)[0].holes) == 0


@pytest.mark.parametrize("min_area", [0, 30])
def test_regions_are_counted_whether_outlines_are_traced_or_not(mask, min_area):
    traced, counted = shown(CAT, mask), shown(CAT, mask)
    outlines = traced.polygons(tolerance=0.0, min_area=min_area)
    assert len(outlines) == (1 if min_area else 2)
    areas = sorted(region.area for region in connected_regions(mask == CAT.index, connectivity=4))
    assert len(areas) == 2
    assert sorted(traced.regions) == sorted(counted.regions) == areas


def test_parts_are_joined_over_corners(mask):
    (part,) = shown(CAT, mask).parts(min_area=0)
    assert (part.entry, part.area) == (CAT, int((mask == CAT.index).sum()))
    assert np.array_equal(part.pixels, mask == CAT.index)


def test_an_item_finds_its_classes_once_for_each_way_to_tidy_its_mask(encode):
    item = LabelledItem("cat.jpg", encode().get)
    plain, tidied = MaskChoice("pseudo_mask"), MaskChoice("pseudo_mask", min_region=10**6)
    assert [found.entry.name for found in item.classes(plain, VOC)] == ["cat", "person"]
    assert item.classes(plain, VOC) is item.classes(plain, VOC)
    assert item.classes(tidied, VOC) == ()
    assert item.pixels(plain).sum() == item.pseudo_mask.size
