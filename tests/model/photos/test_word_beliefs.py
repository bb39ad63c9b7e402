"""What photos teach of a word: each is judged by the others, and never by itself or its copy."""

import numpy as np
import pytest

from toco.model.photos.word_beliefs import taught

ALL_DIFFER = np.arange(60)


@pytest.fixture
def looks():
    """Sixty photos, of which every other one shows a thing."""
    chance = np.random.default_rng(0)
    found = chance.normal(0, 1, (60, 16))
    found[::2, 3:7] += 4
    return found.astype(np.float16)


def even(*but: int) -> np.ndarray:
    """Tags of the photos that show the thing, some spoilt."""
    tagged = np.arange(60) % 2 == 0
    tagged[list(but)] ^= True
    return tagged


def test_a_spoilt_tag_is_not_believed(looks):
    beliefs, recognised = taught(looks, even(4, 30, 33), ALL_DIFFER)
    assert beliefs[[4, 30]].min() > 0.7
    assert beliefs[33] < 0.3
    assert recognised > 0.85


def test_right_tags_are_believed(looks):
    beliefs, recognised = taught(looks, even(), ALL_DIFFER)
    assert ((beliefs > 0.5) == even()).all()
    assert recognised == 1


def test_the_copies_of_a_photo_do_not_bear_its_tag_out(looks):
    looks[[11, 13, 15, 17, 19, 21, 23]] = looks[9]  # of a thing of its own, tagged as the others
    looks[9:24:2, 8:12] += 6
    tagged, groups = even(*range(9, 24, 2)), ALL_DIFFER.copy()
    believed_by_copies = taught(looks, tagged, ALL_DIFFER).beliefs[9]
    groups[9:24:2] = 9
    assert taught(looks, tagged, groups).beliefs[9] < 0.5 < believed_by_copies


def test_a_word_that_no_look_tells_is_not_recognised(looks):
    tagged = np.random.default_rng(1).permutation(even())
    assert taught(looks[:, :3], tagged, ALL_DIFFER).recognised < 0.7


def test_the_same_photos_teach_the_same(looks):
    first, again = (taught(looks, even(4), ALL_DIFFER) for _ in range(2))
    assert (first.beliefs == again.beliefs).all()
