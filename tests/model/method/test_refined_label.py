"""Refined labels: [background, tagged CAMs] through softmax and PAR, high and low, one image after the other."""

import pytest
import torch
import torch.nn.functional as F

from toco.model.method.par import par
from toco.model.method.refined_label import refined_label
from toco.model.options import Thresholds

TAGS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def naive_refined(image, cams, tags, thresholds):
    """One image, each background score by itself: the recipe of METHOD section 3 line by line."""
    height, width = image.shape[1:]
    channels = [c for c in range(len(tags)) if tags[c]]
    runs = []
    for score in (thresholds.high, thresholds.low):
        stack = torch.stack([torch.full((height, width), score), *(cams[c] for c in channels)])[None]
        half = F.interpolate(stack, size=(height // 2, width // 2), mode="bilinear", align_corners=False).softmax(dim=1)
        small = F.interpolate(image[None], size=(height // 2, width // 2), mode="bilinear", align_corners=False)
        refined = F.interpolate(par(small, half), size=(height, width), mode="bilinear", align_corners=False)
        runs.append(refined.argmax(dim=1)[0])
    high, low = runs
    labels = torch.zeros(height, width, dtype=torch.int64)
    for y in range(height):
        for x in range(width):
            if high[y, x]:
                labels[y, x] = channels[int(high[y, x]) - 1] + 1
            else:
                labels[y, x] = 255 if low[y, x] else 0
    return labels


@pytest.fixture
def images():
    return torch.rand(3, 3, 20, 26)


@pytest.fixture
def cams():
    """Smooth maps in 0..1 with a hill each."""
    maps = F.interpolate(torch.rand(3, 4, 4, 5), size=(20, 26), mode="bicubic").clamp(0, None)
    return maps / maps.amax(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds(high=0.65, low=0.4)])
def test_the_batched_label_equals_the_recipe_image_by_image(thresholds, images, cams):
    found = refined_label(images, cams, TAGS, thresholds=thresholds)
    assert found.dtype == torch.int64
    assert len(found.unique()) >= 4  # background, ignored and objects all occur
    for b in range(2):
        wanted = naive_refined(images[b], cams[b], TAGS[b], thresholds)
        assert float((found[b] == wanted).double().mean()) > 0.999


def test_an_image_without_tags_is_background(images, cams):
    assert not refined_label(images, cams, TAGS)[2].any()


def test_classes_without_a_tag_do_not_matter(images, cams):
    changed = cams.clone()
    changed[0, 1] = torch.rand(20, 26)
    changed[1, 2:] = 1.0
    assert torch.equal(refined_label(images, changed, TAGS), refined_label(images, cams, TAGS))


def test_outside_the_valid_box_is_ignored_even_without_tags(images, cams):
    boxes = torch.tensor([[2, 18, 0, 26], [0, 20, 5, 20], [0, 20, 0, 13]])
    found = refined_label(images, cams, TAGS, boxes=boxes)
    assert found[0, :2].unique().tolist() == [255]
    assert found[1, :, 20:].unique().tolist() == [255]
    assert found[2, :, 13:].unique().tolist() == [255]
    assert not found[2, :, :13].any()


def test_cams_on_the_token_grid_are_brought_to_the_image(images):
    small = torch.rand(3, 4, 5, 6)
    large = F.interpolate(small, size=(20, 26), mode="bilinear", align_corners=False)
    assert torch.equal(refined_label(images, small, TAGS), refined_label(images, large, TAGS))


@pytest.mark.parametrize("downscale", [1, 2, 4])
def test_labels_have_the_size_of_the_image_at_any_downscale(downscale, images, cams):
    found = refined_label(images, cams, TAGS, downscale=downscale)
    assert found.shape == (3, 20, 26)
    assert set(found.unique().tolist()) <= {0, 1, 2, 3, 255}


def test_published_labels_are_matched(expected, same_labels):
    images = expected["image_uint8"].float() / 255.0
    found = refined_label(images, expected["cam"], expected["tags"], boxes=expected["valid_box"])
    same_labels(found, expected["refined_label"])
