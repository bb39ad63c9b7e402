"""A table counts for its own folder; what does not fit is said, and nothing is tagged by chance."""

import pytest

from toco.model.photos.assignment import (
    EmptyTags,
    LeftOut,
    NoRowMatches,
    PlacedTable,
    assign,
    in_memory,
    place_tables,
)
from toco.model.photos.collection import Collection, TableFile
from toco.model.photos.tables.cells import InvalidTagFile
from toco.model.photos.tables.reading import parse_table


def collection(photos, **tables: str) -> Collection:
    """Photos, and tables by path (`__` for a slash)."""
    files = []
    for key, text in tables.items():
        name = key.replace("__", "/") + (".json" if text.startswith("{") else ".csv")
        files.append(TableFile(name, text.encode, surely=not name.endswith(".json")))
    return Collection(photos=list(photos), tables=files)


def tags_of(found) -> dict[str, tuple[str, ...]]:
    return {name: tagged.tags for name, tagged in found.tagged.items()}


@pytest.mark.parametrize(
    ("photos", "tables", "tags"),
    [
        # Two tables of the same rows, each for its own folder.
        (
            ["a/1.jpg", "b/1.jpg"],
            {"a__tags": "1.jpg,cat", "b__tags": "1.jpg,dog"},
            {"a/1.jpg": ("cat",), "b/1.jpg": ("dog",)},
        ),
        (
            ["a/1.jpg", "b/2.jpg"],
            {"a__tags": "1.jpg,cat", "b__tags": "2.jpg,horse"},
            {"a/1.jpg": ("cat",), "b/2.jpg": ("horse",)},
        ),
        # A table of the folder above lists what the nearer one does not; the nearer one goes first.
        (
            ["a/1.jpg", "a/2.jpg"],
            {"tags": "a/1.jpg,dog\na/2.jpg,dog", "a__tags": "1.jpg,cat"},
            {"a/1.jpg": ("cat",), "a/2.jpg": ("dog",)},
        ),
        # A table in a folder without photos counts for the folder above.
        (["images/1.jpg"], {"labels__tags": "1.jpg,cat"}, {"images/1.jpg": ("cat",)}),
        (["s/images/1.jpg", "1.jpg"], {"s__labels__tags": "1.jpg,cat"}, {"s/images/1.jpg": ("cat",)}),
        # Tables of one folder are joined; a file that is none, and a .json of another kind, do no harm.
        (["1.jpg", "2.jpg"], {"train": "1.jpg,cat", "val": "2.jpg,dog"}, {"1.jpg": ("cat",), "2.jpg": ("dog",)}),
        (["1.jpg"], {"prices": "item,price\nx,7", "tags": "1.jpg,cat", "other": '{"x": 1}'}, {"1.jpg": ("cat",)}),
        (["1.jpg"], {"tags": '{"1.jpg": ["cat"]}'}, {"1.jpg": ("cat",)}),
    ],
)
def test_a_table_counts_for_its_own_folder(photos, tables, tags):
    found = collection(photos, **tables)
    assert tags_of(assign(found.photos, place_tables(found))) == tags


def test_a_broken_table_is_an_error_only_where_there_is_no_other():
    with pytest.raises(InvalidTagFile, match=r"tags\.csv"):
        place_tables(collection(["1.jpg"], tags="image,split\n1.jpg,val"))
    prices = collection(["1.jpg"], prices="item,price\nx,7")
    assert (place_tables(prices), prices.left_out) == ([], {"no table of tags": ["prices.csv"]})
    misspelt = collection(["1.jpg"], tags="2.jpg,cat")
    assert len(place_tables(misspelt)) == 1  # it lists photos, if not these: not to be passed over
    assert place_tables(collection(["1.jpg"], other='{"x": 1}')) == []


def test_what_does_not_fit_is_said():
    table = parse_table(b"image,tags\nimg_1.jpg,cat\nlost.jpg,dog\n2.jpg,cat\n3.jpg,dog\n", "t.csv")
    found = assign(["IMG_1.JPG", "2.jpg", "a/3.jpg", "b/3.jpg"], [PlacedTable("", table)])
    assert tags_of(found) == {"2.jpg": ("cat",)}
    assert found.unused == {"t.csv": ("img_1.jpg", "lost.jpg")}
    assert found.unlisted == ("IMG_1.JPG",)
    assert set(found.refused) == {"a/3.jpg", "b/3.jpg"}
    assert found.notes() == [
        "2 rows of 't.csv' name no photo: 'img_1.jpg', 'lost.jpg' (is 'img_1.jpg' the photo 'IMG_1.JPG'?).",
        "1 photo has no row: 'IMG_1.JPG'.",
        "2 photos have no clear row: 'a/3.jpg', 'b/3.jpg'.",
    ]
    found.require_match()


def test_a_table_that_names_no_photo_is_refused():
    found = assign(["IMG_1.JPG"], [in_memory({"img_1.jpg": ["cat"]})])
    with pytest.raises(NoRowMatches, match=r"1 row of 'tags' names no photo: 'img_1.jpg' \(is"):
        found.require_match()


def test_nothing_is_tagged_by_the_classifier_unless_asked_or_no_tags_were_given():
    photos = ["1.jpg", "2.jpg", "3.jpg"]
    nothing = assign(photos, [])
    assert [nothing.tags_of(photo, None) for photo in photos] == [None] * 3
    some = assign(photos, [in_memory({"1.jpg": ["cat"], "2.jpg": []})])
    assert (some.tags_of("1.jpg", None), some.tags_of("2.jpg", None)) == (("cat",), ())
    with pytest.raises(EmptyTags):
        some.tags_of("3.jpg", None)
    with pytest.raises(LeftOut):
        some.tags_of("3.jpg", "skip")
    assert (some.tags_of("3.jpg", "model"), some.tags_of("3.jpg", "background")) == (None, ())
    shared = assign(photos, [in_memory({"1.jpg": ["cat"]})], others=["dog", "dog"])
    assert shared.tags_of("3.jpg", None) == ("dog",)


def test_a_row_that_says_nothing_is_no_row():
    table = parse_table(b"image,tags\n1.jpg,nan\n2.jpg,cat\n")
    found = assign(["1.jpg", "2.jpg"], [PlacedTable("", table)])
    assert found.unlisted == ("1.jpg",)
    assert not found.unused
