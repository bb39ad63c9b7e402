"""Which classes photos show, and which photos are kept aside."""

from collections import Counter

import pytest

from toco.jobs.training import SetPhoto
from toco.jobs.training_set import MOST_KEPT, TagReader, keep_aside
from toco.model.photos.classes import VOC

START = VOC.subset(("cat", "dog", "bird"))


def test_known_words_are_understood_and_others_are_words_of_their_own():
    reader = TagReader(START)
    assert reader.read(["kittens", "Puppy", "mug"]) == (("cat", "dog", "mug"), True)
    assert reader.read(["MUG ", "coffee  mug"]) == (("mug", "coffee mug"), True)
    assert reader.read([]) == ((), True)
    assert reader.notes() == ()


def test_of_given_classes_the_other_words_are_left_out_and_told():
    reader = TagReader(START, ["mug", "cat"])
    assert reader.read(["kitty", "Mugs", "lamp", "dog"]) == (("cat", "mug"), True)
    assert reader.read(["lamp"]) == ((), True)
    assert reader.notes() == ("Words that are none of the classes, not trained: 'lamp' (2), 'dog' (1).",)


def test_synonyms_of_a_class_that_is_given_by_another_name_mean_it():
    assert TagReader(VOC, ["airplane"]).read(["aeroplane", "plane"]) == (("airplane",), True)


def test_a_word_that_may_mean_a_class_leaves_the_photo_in_doubt():
    reader = TagReader(VOC, ["bird", "cat"])
    tags, sure = reader.read(["cat", "crane"])
    assert tags == ("cat",)
    assert sure is False


def test_mapped_words_go_first_and_ignored_ones_are_ignored():
    reader = TagReader(START, (), {"hund": "dog", "k17": ""})
    assert reader.read(["Hund", "K-17"]) == (("dog",), True)
    reader.use_mapping({"hund": "cat"})
    assert reader.read(["Hund"]) == (("cat",), True)


def photos(count: int, *tags: str) -> list[SetPhoto]:
    return [
        SetPhoto(name=f"{number}.jpg", key=f"k{number}", size=1, tags=(tags[number % len(tags)],))
        for number in range(count)
    ]


def test_the_same_photos_are_kept_aside_of_the_same_set():
    asked = photos(40, "cat", "dog")
    kept = keep_aside(asked, 0.2, 0)
    assert [photo.model_copy(update={"kept": False}) for photo in kept] == asked, "their order stays"
    assert sum(photo.kept for photo in kept) == 8
    assert keep_aside(asked, 0.2, 0) == kept
    assert keep_aside(asked, 0.2, 1) != kept


def test_no_class_loses_more_than_half_of_its_photos():
    asked = [*photos(30, "cat"), *(photo.model_copy(update={"tags": ("owl", "cat")}) for photo in photos(3, "owl"))]
    kept = keep_aside(asked, 0.5, 0)
    left = Counter(tag for photo in kept if not photo.kept for tag in photo.tags)
    assert left["owl"] >= 2
    assert left["cat"] >= 17
    assert not any(photo.kept for photo in keep_aside(photos(1, "cat"), 0.5, 0))


@pytest.mark.parametrize(("count", "share", "expected"), [(2000, 0.5, MOST_KEPT), (10, 0.0, 0), (10, 0.15, 1)])
def test_how_many_are_kept_aside(count, share, expected):
    assert sum(photo.kept for photo in keep_aside(photos(count, "cat", "dog"), share, 0)) == expected
