"""Tags are found for each photo however the user wrote its name down, and never given to two photos."""

from pathlib import PurePath

import pytest

from toco.model.photos.tags import (
    AmbiguousImageName,
    TaggedImage,
    TagTable,
    split_tags,
    tags_from_folders,
)

CAT_AND_DOG = TaggedImage(("cat", "dog"))


@pytest.mark.parametrize(
    ("rows", "photo", "found"),
    [
        (["x.jpg"], "x.jpg", "x.jpg"),
        (["x.jpg"], "deep/er/x.jpg", "x.jpg"),
        (["photos/x.jpg"], "x.jpg", "photos/x.jpg"),
        (["./a\\x.jpg"], "a/x.jpg", "a/x.jpg"),
        (["/home/me/a/x.jpg"], "a/x.jpg", "home/me/a/x.jpg"),
        (["x"], "a/x.jpg", "x"),
        (["x.v2"], "x.v2.jpg", "x.v2"),
        (["a/x.jpg"], "b/x.jpg", None),
        (["x.png"], "x.jpg", None),
        (["x.jpg", "a/x.jpg"], "a/x.jpg", "a/x.jpg"),
        (["x.jpg", "a/x.jpg"], "b/x.jpg", "x.jpg"),
        (["x", "x.jpg"], "x.jpg", "x.jpg"),
    ],
)
def test_photos_find_their_row(rows, photo, found):
    table = TagTable((row, TaggedImage((row,))) for row in rows)
    assert table.row_of(photo) == found
    assert table.row_of(PurePath(photo)) == found


def test_a_photo_that_two_rows_may_mean_is_refused():
    table = TagTable([("a/x.jpg", TaggedImage(("cat",))), ("b/x.jpg", TaggedImage(("dog",)))])
    with pytest.raises(AmbiguousImageName, match=r"'x.jpg' may be any of the rows 'a/x.jpg', 'b/x.jpg'"):
        table.find("x.jpg")


def table_of(*rows: str) -> TagTable:
    return TagTable((row, TaggedImage((row,))) for row in rows)


@pytest.mark.parametrize(
    ("rows", "photos", "matched", "ambiguous", "unused"),
    [
        # One bare name that fits several photos is none's.
        (["x.jpg"], ["a/x.jpg", "b/x.jpg"], {}, {"a/x.jpg", "b/x.jpg"}, ()),
        (["x"], ["x.jpg", "x.png"], {}, {"x.jpg", "x.png"}, ()),
        (["x.jpg"], ["x.jpg", "b/x.jpg"], {"x.jpg": "x.jpg"}, set(), ()),
        (["x.jpg", "a/x.jpg"], ["a/x.jpg", "b/x.jpg"], {"a/x.jpg": "a/x.jpg", "b/x.jpg": "x.jpg"}, set(), ()),
        (["/mnt/c/a/x.jpg"], ["a/x.jpg", "c/a/x.jpg"], {"c/a/x.jpg": "mnt/c/a/x.jpg"}, set(), ()),
        (["a/x.jpg", "b/x.jpg"], ["x.jpg"], {}, {"x.jpg"}, ()),
        (["img_1.jpg", "b.jpg"], ["IMG_1.JPG", "b.jpg"], {"b.jpg": "b.jpg"}, set(), ("img_1.jpg",)),
        # Paths of other machines, other systems and other ways to write the same letters.
        ([r"C:\\Users\\me\\pets\\x.jpg"], ["pets/x.jpg"], {"pets/x.jpg": "C:/Users/me/pets/x.jpg"}, set(), ()),
        ([r"\\nas\\share\\x.jpg"], ["x.jpg"], {"x.jpg": "nas/share/x.jpg"}, set(), ()),
        (["../pets/x.jpg"], ["x.jpg"], {"x.jpg": "pets/x.jpg"}, set(), ()),
        (["https://h.io/b/a%20x.jpg?sig=1"], ["b/a x.jpg"], {"b/a x.jpg": "h.io/b/a x.jpg"}, set(), ()),
        (["s3://bucket/pets/x.jpg"], ["x.jpg"], {"x.jpg": "bucket/pets/x.jpg"}, set(), ()),
        (["caf\u00e9.jpg"], ["cafe\u0301.jpg"], {"cafe\u0301.jpg": "caf\u00e9.jpg"}, set(), ()),
    ],
)
def test_rows_and_photos_find_each_other_one_to_one(rows, photos, matched, ambiguous, unused):
    found = table_of(*rows).match(photos)
    assert (found.rows, set(found.ambiguous), found.unused) == (matched, ambiguous, unused)
    assert all(error.code == "ambiguous_image_name" and error.fix for error in found.ambiguous.values())


def test_rows_without_a_photo_are_told():
    assert table_of("a.jpg", "misspelt.jpg").unused(["photos/a.jpg", "c.jpg"]) == ("misspelt.jpg",)


def test_rows_of_one_photo_are_joined():
    rows = [("./a.jpg", TaggedImage(("cat",), split="val")), ("a.jpg", TaggedImage(("dog", "cat"), complete=False))]
    assert dict(TagTable(rows)) == {"a.jpg": TaggedImage(("cat", "dog"), complete=False, split="val")}


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('["cat", "dog"]', ("cat", "dog")),
        ("['cat', 'dog']", ("cat", "dog")),
        ("['cat' 'dog']", ("cat", "dog")),  # as numpy prints it
        ("[cat, dog]", ("cat", "dog")),
        ("{cat,dog}", ("cat", "dog")),
        ("('cat',)", ("cat",)),
        ("cat\ndog", ("cat", "dog")),
        ("[]", ()),
        ("tv/monitor", ("tv/monitor",)),
    ],
)
def test_a_list_may_be_written_in_many_ways(text, tags):
    assert split_tags(text) == tags


def test_folder_names():
    table = tags_from_folders([PurePath("cat/1.jpg"), PurePath("cat,dog/2.jpg"), PurePath("3.jpg")])
    assert dict(table) == {
        "cat/1.jpg": TaggedImage(("cat",), complete=False),
        "cat,dog/2.jpg": TaggedImage(("cat", "dog"), complete=False),
    }
