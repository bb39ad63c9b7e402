"""Masks of several models under one vocabulary."""

import numpy as np
import pytest

from toco.model.errors import InvalidOption
from toco.model.formats.joined_vocabulary import join_vocabularies
from toco.model.photos.classes import VOC, ClassName, Vocabulary


def of(**indices):
    return Vocabulary(ClassName(name, index) for name, index in indices.items())


def test_alike_vocabularies_stay_as_they_are():
    assert join_vocabularies([VOC, VOC]) == (VOC, [None, None])


def test_classes_of_one_name_are_one_class_whatever_their_index():
    joined, (first, second) = join_vocabularies([of(cat=1, crane=2), of(drone=2, cat=3, dog=7)])
    assert {entry.name: entry.index for entry in joined} == {"cat": 1, "crane": 2, "drone": 3, "dog": 7}
    assert first is None
    assert second[np.array([0, 2, 3, 7, 255, 9])].tolist() == [0, 3, 1, 7, 255, 255]


def test_a_vocabulary_that_only_adds_classes_recodes_nothing():
    joined, recodes = join_vocabularies([of(cat=1), of(cat=1, dog=2)])
    assert (joined.names, recodes) == (("cat", "dog"), [None, None])


def test_more_classes_than_a_mask_holds_are_refused():
    many = Vocabulary.of_names([f"a{n}" for n in range(200)])
    with pytest.raises(InvalidOption, match="more than 254 classes"):
        join_vocabularies([many, Vocabulary.of_names([f"b{n}" for n in range(200)])])


def test_an_item_is_exported_under_the_joined_indices(make_item, encode):
    item = make_item()
    recode = np.arange(256, dtype=np.uint8)
    recode[8], recode[15] = 30, 31
    recoded = type(item)("cat.jpg", encode().get, recode=recode)
    assert np.array_equal(recoded.pseudo_mask == 30, item.pseudo_mask == 8)
    assert recoded.cams.indices.tolist() == [30, 31]
