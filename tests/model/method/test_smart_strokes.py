"""Smart strokes: what looks like the stroke is taken, up to the photo's edges; strokes themselves are never lost."""

import numpy as np
import pytest

from toco.model.crf.choice import crf_backend
from toco.model.method.reduced_tokens import reduce_tokens
from toco.model.method.smart_strokes import WORKING_SIDE, Stroke, stroke_basis, take_alike, warm_up

HEIGHT, WIDTH = 96, 128
CAT, DOG = 8, 12
COLOURS = {"grass": (90, 150, 60), "cat": (200, 120, 40), "dog": (60, 50, 50)}
# (y, x) slices: a cat on the left, another at the right edge, a dog in between.
PLACES = {
    "cat": [(slice(20, 70), slice(10, 50)), (slice(30, 60), slice(104, 128))],
    "dog": [(slice(30, 80), slice(60, 92))],
}
IN_CAT, IN_SECOND_CAT, IN_DOG, IN_GRASS = (30.0, 45.0), (115.0, 45.0), (75.0, 55.0), (5.0, 5.0)


def scene(scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A photo and which thing is where: (H, W, 3) uint8 with a little noise, and (H, W) of 0 grass, 1 cat, 2 dog."""
    kinds = np.zeros((HEIGHT, WIDTH), np.uint8)
    for kind, name in enumerate(PLACES, 1):
        for place in PLACES[name]:
            kinds[place] = kind
    image = np.array(list(COLOURS.values()), np.uint8)[kinds]
    noise = np.random.default_rng(0).integers(-2, 3, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image.repeat(scale, 0).repeat(scale, 1), kinds.repeat(scale, 0).repeat(scale, 1)


def basis(scale: int = 1):
    """Tokens of 8 x 8 pixels each: the kind of thing at its middle, as a direction of its own, and noise."""
    image, kinds = scene(scale)
    rng = np.random.default_rng(1)
    middle = kinds[4 * scale :: 8 * scale, 4 * scale :: 8 * scale]
    tokens = rng.normal(size=(3, 64))[middle] + 0.3 * rng.normal(size=(*middle.shape, 64))
    return stroke_basis(image, reduce_tokens(tokens), kinds.shape, backend=crf_backend()), kinds


def overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    """Intersection over union; tokens of 8 pixels leave some doubt at the borders of things."""
    return float((found & wanted).sum() / (found | wanted).sum())


def test_a_click_takes_what_it_hits_up_to_its_edges():
    ready, kinds = basis()
    taken = take_alike(ready, [Stroke(CAT, 1.0, (IN_CAT,))])
    assert (taken.shape, taken.dtype) == ((HEIGHT, WIDTH), np.int16)
    first_cat = np.zeros_like(kinds, bool)
    first_cat[PLACES["cat"][0]] = True
    assert overlap(taken == CAT, first_cat) > 0.9
    assert set(np.unique(taken)) == {-1, CAT}


def test_what_is_alike_elsewhere_is_taken_too_if_it_need_not_touch():
    ready, kinds = basis()
    taken = take_alike(ready, [Stroke(CAT, 1.0, (IN_CAT,))], touching=False)
    assert overlap(taken == CAT, kinds == 1) > 0.8


def test_classes_hold_each_other_back():
    ready, kinds = basis()
    strokes = [Stroke(CAT, 1.0, (IN_CAT,)), Stroke(DOG, 1.0, (IN_DOG,)), Stroke(0, 1.0, (IN_GRASS,))]
    taken = take_alike(ready, strokes, reach=0.9, touching=False)
    for value, kind in ((0, 0), (CAT, 1), (DOG, 2)):
        assert overlap(taken == value, kinds == kind) > 0.8


def test_more_reach_takes_more():
    ready, _ = basis()
    areas = [(take_alike(ready, [Stroke(CAT, 1.0, (IN_CAT,))], reach=reach) == CAT).sum() for reach in (0.0, 0.4, 1.0)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_strokes_are_held_fixed_wherever_they_lie():
    ready, _ = basis()
    line = ((2.0, 90.0), (120.0, 90.0))  # on grass all the way
    taken = take_alike(ready, [Stroke(CAT, 1.0, (IN_CAT,)), Stroke(DOG, 5.0, line)])
    assert (taken[88:93, 4:118] == DOG).all()
    over = take_alike(ready, [Stroke(DOG, 5.0, line), Stroke(CAT, 3.0, ((60.0, 90.0),))])
    assert over[90, 60] == CAT  # the later one lies on top


def test_large_photos_are_answered_at_their_own_size():
    ready, kinds = basis(scale=8)
    assert max(ready.working_size) == WORKING_SIDE
    taken = take_alike(ready, [Stroke(CAT, 9.0, ((IN_CAT[0] * 8, IN_CAT[1] * 8),))])
    first_cat = np.zeros_like(kinds, bool)
    first_cat[160:560, 80:400] = True
    assert taken.shape == kinds.shape
    assert overlap(taken == CAT, first_cat) > 0.9


@pytest.mark.parametrize(("point", "corner"), [((-50.0, -50.0), (0, 0)), ((1e5, 1e5), (-1, -1))])
def test_a_stroke_outside_lies_on_the_edge(point, corner):
    ready, _ = basis()
    taken = take_alike(ready, [Stroke(CAT, 1.0, (point,)), Stroke(DOG, 1.0, (IN_CAT,))], reach=0.0)
    assert taken[corner] == CAT


def test_no_strokes_take_nothing():
    assert (take_alike(basis()[0], []) == -1).all()


def test_warming_up_needs_no_photo():
    warm_up(crf_backend())
