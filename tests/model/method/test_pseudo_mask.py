"""CRF pseudo masks: which stacks the CRF gets, and what becomes of its two answers."""

import numpy as np
import pytest

from toco.model.crf.backend import CrfBackend
from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import PSEUDO_MASK_CRF, CrfSettings
from toco.model.errors import InvalidArray
from toco.model.method.pseudo_mask import crf_pseudo_mask, threshold_pseudo_mask, with_background
from toco.model.options import VOC_THRESHOLDS, Thresholds

INDICES = (8, 12)
IMAGE = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)


class Unchanged(CrfBackend):
    """A CRF that leaves probabilities as they are, and remembers what it was asked."""

    name = "unchanged"

    def __init__(self):
        self.asked = []

    def prepare(self, image, settings):
        self.asked.append((image.shape, settings))
        return self

    def infer(self, probabilities, image=None, settings=None):
        if image is not None:
            self.prepare(image, settings)
        self.asked.append(probabilities)
        return probabilities

    @property
    def stacks(self):
        """The problems in the order in which they were posed, each (K, H, W)."""
        arrays = [entry for entry in self.asked if isinstance(entry, np.ndarray)]
        return [stack for array in arrays for stack in array.reshape(-1, *array.shape[-3:])]


@pytest.fixture
def cams():
    return np.random.default_rng(1).random((2, 6, 7), np.float32)


def test_background_goes_in_front_and_channels_sum_to_one(cams):
    found = with_background(cams, 0.7)
    assert (found.shape, found.dtype) == ((3, 6, 7), np.float32)
    for y, x in np.ndindex(6, 7):
        powers = np.exp([0.7, *cams[:, y, x]])
        np.testing.assert_allclose(found[:, y, x], powers / powers.sum(), rtol=1e-5)
    assert cams.max() <= 1.0  # the input is left alone


def test_the_crf_runs_with_a_high_and_a_low_background_on_tagged_classes_alone(cams):
    backend = Unchanged()
    crf_pseudo_mask(IMAGE, cams, INDICES, backend=backend, thresholds=Thresholds(high=0.65, low=0.2))
    high, low = backend.stacks
    np.testing.assert_allclose(high, with_background(cams, 0.65))
    np.testing.assert_allclose(low, with_background(cams, 0.2))
    assert backend.asked[0] == ((6, 7, 3), PSEUDO_MASK_CRF)


def test_the_two_answers_decide_each_pixel(cams):
    found = crf_pseudo_mask(IMAGE, cams, INDICES, backend=Unchanged())
    assert found.dtype == np.uint8
    for y, x in np.ndindex(6, 7):
        best = max(range(2), key=lambda c: cams[c, y, x])
        score = cams[best, y, x]
        wanted = INDICES[best] if score > 0.7 else 255 if score > 0.25 else 0
        assert found[y, x] == wanted
    assert set(np.unique(found)) == {0, 8, 12, 255}


def test_without_the_ignored_band_one_run_decides_every_pixel(cams):
    backend = Unchanged()
    found = crf_pseudo_mask(IMAGE, cams, INDICES, backend=backend, ignore_band=False)
    (stack,) = backend.stacks
    np.testing.assert_allclose(stack, with_background(cams, VOC_THRESHOLDS.plain))
    expected = np.where(cams.max(axis=0) > 0.5, np.take(INDICES, cams.argmax(axis=0)), 0)
    np.testing.assert_array_equal(found, expected)


def test_a_photo_without_tags_is_background_without_any_crf():
    backend = Unchanged()
    found = crf_pseudo_mask(IMAGE, np.zeros((0, 6, 7), np.float32), (), backend=backend)
    assert found.shape == (6, 7)
    assert not found.any()
    assert not backend.asked
    assert not threshold_pseudo_mask(np.zeros((0, 6, 7), np.float32), ()).any()


@pytest.mark.parametrize(
    ("shape", "indices"), [((2, 6, 8), INDICES), ((6, 7), INDICES), ((2, 6, 7), (8,)), ((2, 7, 6), INDICES)]
)
def test_arrays_that_do_not_belong_together_are_refused(shape, indices):
    with pytest.raises(InvalidArray) as caught:
        crf_pseudo_mask(IMAGE, np.zeros(shape, np.float32), indices, backend=Unchanged())
    assert str(shape) in caught.value.detail


def test_thresholds_alone_at_their_exact_values():
    scores = np.array([[0.0, 0.25, 0.5, 0.625, 0.75, 1.0]], np.float32)
    cams = np.stack([scores, np.zeros_like(scores)])
    thresholds = Thresholds(high=0.75, low=0.25, plain=0.5)
    assert threshold_pseudo_mask(cams, INDICES, thresholds=thresholds).tolist() == [[0, 0, 255, 255, 255, 8]]
    decided = threshold_pseudo_mask(cams, INDICES, thresholds=thresholds, ignore_band=False)
    assert decided.tolist() == [[0, 0, 0, 8, 8, 8]]
    assert decided.dtype == np.uint8


def halves():
    """A dark and a bright half with noise, and a CAM that lights up most of the bright one but spills over."""
    rng = np.random.default_rng(0)
    image = np.zeros((40, 60, 3), np.float64)
    image[:, 30:] = 200.0
    image = np.clip(image + rng.normal(20, 2, image.shape), 0, 255).astype(np.uint8)
    columns = np.arange(60)
    cam = np.clip((columns - 15) / 20.0, 0.0, 1.0).astype(np.float32)
    return image, np.repeat(cam[None], 40, axis=0)[None]


def test_the_real_crf_follows_the_edges_of_the_photo():
    image, cams = halves()
    found = crf_pseudo_mask(image, cams, (12,), backend=crf_backend("auto"), ignore_band=False)
    rule = threshold_pseudo_mask(cams, (12,), ignore_band=False)
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:] = 12
    assert (found == truth).mean() > 0.99
    assert (rule == truth).mean() < (found == truth).mean()


def test_absent_classes_dropped_before_the_crf_differ_from_dropped_after_it():
    """The reason why the stack is cut first: a class that is not there would take pixels from those that are."""
    image, cams = halves()
    rival = np.clip(1.05 * cams, 0, 1)
    backend = crf_backend("auto")
    before = crf_pseudo_mask(image, cams, (12,), backend=backend)
    stack = with_background(np.concatenate([cams, rival]), 0.7)
    after = backend.infer(stack, image, PSEUDO_MASK_CRF)[:2].argmax(axis=0) * 12
    assert (before != after).any()


def test_the_strength_of_the_crf_is_the_callers_choice():
    image, cams = halves()
    off = CrfSettings(
        iterations=0, gaussian_sxy=1, gaussian_weight=0, bilateral_sxy=1, bilateral_srgb=1, bilateral_weight=0
    )
    found = crf_pseudo_mask(image, cams, (12,), backend=crf_backend("auto"), settings=off)
    np.testing.assert_array_equal(found, threshold_pseudo_mask(cams, (12,)))
