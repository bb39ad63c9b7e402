"""Parts of a data set: their sizes, each class's shares, doubles together, and the same for the same seed."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toco.model.errors import InvalidOption
from toco.model.formats.splits import ListedPhoto, listed_parts, part_called, shares_of, split_photos

CLASSES = ("cat", "dog", "horse", "person", "tram")
SHARES = ("80/10/10", "70/30", "50/25/25", "10/80/10", "100/0/0")


@st.composite
def photo_lists(draw, most_tags=3, doubles=True):
    tags = st.frozensets(st.sampled_from(CLASSES), max_size=most_tags)
    looks = st.integers(0, 40).map(lambda look: f"{look * 0x0F0F1E3C5A7B9D1F2A4C:032x}" if doubles and look else "")
    rows = draw(st.lists(st.tuples(tags, looks), min_size=1, max_size=120))
    return [ListedPhoto(f"{number}.jpg", found, look) for number, (found, look) in enumerate(rows)]


def count(photos, split):
    return Counter(split.parts[photo.name] for photo in photos)


@given(photo_lists(), st.sampled_from(SHARES), st.integers(0, 9))
def test_each_photo_is_in_one_part_that_was_asked_for(photos, asked, seed):
    split = split_photos(photos, asked, seed=seed)
    assert split.parts.keys() == {photo.name for photo in photos}
    assert set(split.parts.values()) <= shares_of(asked).keys()


@given(photo_lists(), st.sampled_from(SHARES), st.integers(0, 9))
def test_photos_that_look_alike_stay_together(photos, asked, seed):
    split = split_photos(photos, asked, seed=seed)
    parts_of_look = {}
    for photo in photos:
        if photo.fingerprint:
            parts_of_look.setdefault(photo.fingerprint, set()).add(split.parts[photo.name])
    assert all(len(parts) == 1 for parts in parts_of_look.values())
    assert split.torn == 0


@given(photo_lists(), st.sampled_from(SHARES), st.integers(0, 9), st.randoms())
def test_neither_the_order_of_photos_nor_another_run_changes_anything(photos, asked, seed, chance):
    shuffled = photos.copy()
    chance.shuffle(shuffled)
    assert split_photos(photos, asked, seed=seed) == split_photos(shuffled, asked, seed=seed)


@given(photo_lists(), st.sampled_from(SHARES), st.integers(0, 9))
def test_every_class_is_in_the_largest_part(photos, asked, seed):
    split, shares = split_photos(photos, asked, seed=seed), shares_of(asked)
    largest = max(shares, key=shares.get)
    shown = set().union(*(photo.tags for photo in photos if split.parts[photo.name] == largest))
    assert shown == set().union(*(photo.tags for photo in photos))


@given(photo_lists(doubles=False), st.sampled_from(SHARES), st.integers(0, 9))
def test_parts_have_their_sizes_but_for_a_photo_a_class(photos, asked, seed):
    found = count(photos, split_photos(photos, asked, seed=seed))
    for part, share in shares_of(asked).items():
        assert abs(found[part] - share * len(photos)) <= len(CLASSES) + 1


@given(photo_lists(most_tags=1, doubles=False), st.sampled_from(SHARES), st.integers(0, 9))
def test_where_photos_have_one_tag_each_class_has_its_shares(photos, asked, seed):
    split = split_photos(photos, asked, seed=seed)
    for tags in {photo.tags for photo in photos}:
        those = [photo for photo in photos if photo.tags == tags]
        found = count(those, split)
        for part, share in shares_of(asked).items():
            assert abs(found[part] - share * len(those)) <= 3


def test_another_seed_gives_another_split_of_the_same_sizes():
    photos = [ListedPhoto(f"{n}.jpg", frozenset({random.Random(n).choice(CLASSES)})) for n in range(200)]
    one, other = (split_photos(photos, "80/10/10", seed=seed) for seed in (0, 1))
    assert one.parts != other.parts
    assert count(photos, one) == count(photos, other)


def test_a_hundred_classes_of_three_photos_leave_no_part_empty():
    photos = [ListedPhoto(f"{n}.jpg", frozenset({f"class {n // 3}"})) for n in range(300)]
    found = count(photos, split_photos(photos, "80/10/10"))
    assert {part: round(number, -1) for part, number in found.items()} == {"train": 240, "val": 30, "test": 30}


def test_the_parts_of_a_table_count_as_they_are_called():
    photos = [
        ListedPhoto(f"{n}.jpg", part=part) for n, part in enumerate(("Train", "valid", " TEST ", "fold_1", "", "a b"))
    ]
    split = split_photos(photos, "table")
    assert split.parts == {"0.jpg": "train", "1.jpg": "val", "2.jpg": "test", "3.jpg": "fold_1"}
    assert split_photos(photos, "none").parts == {}


def test_doubles_that_a_table_tears_apart_are_counted():
    look = "0123456789abcdef" * 2
    photos = [ListedPhoto(f"{n}.jpg", fingerprint=look, part=part) for n, part in enumerate(("train", "test", ""))]
    split = split_photos([*photos, ListedPhoto("other.jpg", fingerprint="f" * 32)], "table")
    assert (split.alike, split.torn) == (3, 3)


@pytest.mark.parametrize("text", ["80/10", "80/10/20", "0/0/0", "80", "table", "eighty/20", "-10/110"])
def test_shares_that_do_not_add_up_are_refused(text):
    with pytest.raises(InvalidOption, match="does not add up to 100"):
        shares_of(text)


def test_a_share_of_nothing_makes_no_part():
    assert shares_of("90/0/10") == {"train": 0.9, "test": 0.1}


def test_parts_are_called_by_their_usual_names_and_listed_in_their_order():
    assert part_called("Validation") == "val"
    assert part_called("../x") == ""
    assert listed_parts(["zoo", "test", "a", "train", "test"]) == ["train", "test", "a", "zoo"]
