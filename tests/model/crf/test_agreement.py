"""Our CRF gives the result of pydensecrf: labels on 99.99 % of the pixels of real photos, marginals within 1e-3."""

from dataclasses import replace

import numpy as np
import pytest

from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF

pytest.importorskip("pydensecrf", reason="the reference is a source package")

EQUAL_LABELS = 0.9999
MARGINAL_DIFFERENCE = 1e-3

WIDE_COLOUR = replace(PSEUDO_MASK_CRF, bilateral_sxy=80.0, bilateral_srgb=13.0, bilateral_weight=10.0)


def assert_agree(image, probabilities, settings, *, labels=EQUAL_LABELS):
    ours = crf_backend("lattice").infer(probabilities, image, settings)
    theirs = crf_backend("pydensecrf").infer(probabilities, image, settings)
    assert np.abs(ours - theirs).max() <= MARGINAL_DIFFERENCE
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= labels


@pytest.mark.parametrize("settings", [PSEUDO_MASK_CRF, SEGMENTATION_CRF, WIDE_COLOUR])
@pytest.mark.parametrize("classes", [2, 3, 4, 21])
@pytest.mark.parametrize("name", ["cat", "horses"])
def test_real_photos(photo, softmax_maps, name, classes, settings):
    image = photo(name)
    assert_agree(image, softmax_maps(classes, *image.shape[:2]), settings)


@pytest.mark.parametrize("classes", [5, 6, 9, 16, 17, 18, 25, 33, 34])
def test_every_way_to_fill_up_the_last_slab(photo, softmax_maps, classes):
    image = photo(side=40)
    assert_agree(image, softmax_maps(classes, *image.shape[:2]), PSEUDO_MASK_CRF)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (2, 2), (3, 5), (1, 130), (129, 3)])
def test_degenerate_sizes(softmax_maps, shape):
    # A point count that is no multiple of four makes pydensecrf add points at the origin: so do we.
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    assert_agree(image, softmax_maps(3, *shape), PSEUDO_MASK_CRF, labels=1)


@pytest.mark.parametrize("value", [0, 255])
def test_a_plain_image(softmax_maps, value):
    image = np.full((40, 50, 3), value, np.uint8)
    assert_agree(image, softmax_maps(2, 40, 50), SEGMENTATION_CRF)


@pytest.mark.parametrize("sxy", [0.2, 0.5, 0.7, 1.5, 10.0, 500.0])
def test_spatial_deviations_from_a_fraction_of_a_pixel_to_beyond_the_image(photo, softmax_maps, sxy):
    image = photo(side=60)
    assert_agree(image, softmax_maps(3, *image.shape[:2]), replace(PSEUDO_MASK_CRF, gaussian_sxy=sxy))


@pytest.mark.parametrize("iterations", [0, 1, 2, 25])
def test_iterations(photo, softmax_maps, iterations):
    image = photo(side=60)
    assert_agree(image, softmax_maps(3, *image.shape[:2]), replace(PSEUDO_MASK_CRF, iterations=iterations))


@pytest.mark.parametrize("left_out", [{"gaussian_weight": 0.0}, {"bilateral_weight": 0.0}])
def test_either_kernel_alone(photo, softmax_maps, left_out):
    image = photo(side=60)
    assert_agree(image, softmax_maps(3, *image.shape[:2]), replace(PSEUDO_MASK_CRF, **left_out))


def test_certain_probabilities_are_clipped_as_theirs(photo):
    image = photo(side=60)
    certain = np.zeros((3, *image.shape[:2]), np.float32)
    certain[0, :, :20], certain[1, :, 20:40], certain[2, :, 40:] = 1, 1, 1
    assert_agree(image, certain, PSEUDO_MASK_CRF)
