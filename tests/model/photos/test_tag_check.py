"""What all tags of a job mean, with counts; and the three policies for words that are not understood."""

import pytest

from toco.model.photos.classes import VOC, UnknownTag
from toco.model.photos.mapping import fold_mapping
from toco.model.photos.tag_check import LEARNING_UNAVAILABLE, TagCheck, check_tags, settle_unknown

TAGS = [("cats", "mug"), ("cat",), ("mug", "mug"), ("hors",), (), ("mug", "nice"), ("nice",)]
MAPPING = fold_mapping([("nice", "")])


def test_words_are_counted_by_photos_and_open_ones_come_first():
    check = check_tags(TAGS, VOC, MAPPING)
    assert [(word.written, word.understood, word.photos) for word in check.words] == [
        ("mug", None, 3),
        ("hors", None, 1),
        ("nice", None, 2),
        ("cat", "cat", 1),
        ("cats", "cat", 1),
    ]
    assert [word.written for word in check.open_words] == ["mug", "hors"]
    assert (check.photos, check.open_photos, check.wholly_open_photos) == (6, 4, 3)


def test_more_words_than_anyone_reads_are_counted():
    check = check_tags([(f"code {number}x",) for number in range(510)], VOC)
    assert (len(check.words), check.unlisted_words) == (500, 10)


def test_refusing_names_every_word_with_its_photos_and_what_is_close():
    with pytest.raises(UnknownTag) as caught:
        settle_unknown("refuse", check_tags(TAGS, VOC, MAPPING))
    assert "'mug' (3 photos), 'hors' (1 photo; did you mean 'horse'?)" in caught.value.detail
    assert "2 words not understood" in caught.value.detail


def test_leaving_open_is_told():
    (told,) = settle_unknown("open", check_tags(TAGS, VOC, MAPPING))
    assert told == "2 words not understood, on 4 photos; 3 of them have no other tag and are left wholly open."


def test_where_nothing_is_learnt_that_is_told():
    assert settle_unknown("learn", check_tags(TAGS, VOC))[1] == LEARNING_UNAVAILABLE


@pytest.mark.parametrize("policy", ["learn", "open", "refuse"])
def test_nothing_is_told_where_all_is_understood(policy):
    assert settle_unknown(policy, check_tags([("cats",)], VOC)) == ()
    assert settle_unknown(policy, TagCheck()) == ()
