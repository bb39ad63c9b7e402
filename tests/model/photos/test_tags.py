"""Tags are found for each photo however the user wrote them down, and bad files say where they are bad."""

import json
from pathlib import Path, PurePath

import pytest

from toco.model.photos.tags import (
    AmbiguousImageName,
    InvalidTagFile,
    TaggedImage,
    TagTable,
    parse_coco_instances,
    parse_tags,
    read_tags,
    split_tags,
    tags_for_all,
    tags_from_folders,
)

CAT_AND_DOG = TaggedImage(("cat", "dog"))


@pytest.mark.parametrize(
    "text",
    [
        "image,tags\na.jpg,cat;dog\nb.jpg,\n",
        "image,tags\na.jpg,cat|dog\nb.jpg\n",
        'image,tags\r\na.jpg,"cat,dog"\r\nb.jpg,\r\n',
        "a.jpg,cat;dog\nb.jpg,\n",
        "a.jpg,cat,dog\nb.jpg\n",
        "image,tags\na.jpg,cat,dog\nb.jpg\n",
        "a.jpg\tcat;dog\nb.jpg\t\n",
        "Image;Tags\na.jpg;cat,dog\nb.jpg;\n",
        "a.jpg;cat;dog\nb.jpg;\n",
        "tags , file\ncat;dog,a.jpg\n,b.jpg\n",
        "image,tags\n\na.jpg,cat\na.jpg,dog\nb.jpg,\n",
        "image,tags,complete\na.jpg,cat;dog,1\nb.jpg,,\n",
        "a.jpg,cat;dog,1\nb.jpg,,1\n",
        '{"image": "a.jpg", "tags": ["cat", "dog", "cat"]}\n\n{"image": "b.jpg", "tags": []}\n',
        '{"file_name": "a.jpg", "labels": "cat; dog"}\n{"image": "b.jpg", "tags": ""}\n',
    ],
)
def test_tables_of_every_shape_mean_the_same(text):
    table = parse_tags(text)
    assert dict(table) == {"a.jpg": CAT_AND_DOG, "b.jpg": TaggedImage(())}


def test_incomplete_lists_are_marked():
    text = "image,tags,complete\na.jpg,cat,0\nb.jpg,cat,1\nc.jpg,cat,no\nd.jpg,cat,\n"
    assert [row.complete for row in parse_tags(text).values()] == [False, True, False, True]
    lines = '{"image": "a.jpg", "tags": ["cat"], "complete": false}\n{"image": "b.jpg", "tags": ["cat"]}'
    assert [row.complete for row in parse_tags(lines).values()] == [False, True]
    # Two rows for one photo: complete only if both say so.
    assert not parse_tags("a.jpg,cat,1\na.jpg,dog,0\n")["a.jpg"].complete


def test_an_empty_list_is_not_a_missing_row():
    table = parse_tags("image,tags\na.jpg,\n")
    assert table.find("a.jpg") == TaggedImage(())
    assert table.find("b.jpg") is None


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


def test_rows_without_a_photo_are_told():
    table = parse_tags("a.jpg,cat\nmisspelt.jpg,dog\n")
    assert table.unused(["photos/a.jpg", "c.jpg"]) == ("misspelt.jpg",)
    assert len(table) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,tags,complete\na.jpg,cat,dog,1\n", r"t\.csv, line 2: 4 columns where 3"),
        ("image,tags,complete\na.jpg,cat,maybe\n", r"t\.csv, line 2: complete = 'maybe'"),
        ("image,tags\n,cat\n", r"t\.csv, line 2: no image name"),
        ('image,tags\na.jpg,"cat\n', r"t\.csv, line 2"),
        ('{"image": "a.jpg", "tags": ["cat"]}\n{"image": \n', r"t\.csv, line 2"),
        ('{"image": "a.jpg"}', r"t\.csv, line 1: .* lacks"),
        ('{"image": "a.jpg", "tags": 7}', r"t\.csv, line 1: .* lacks"),
        ('{"image": "a.jpg", "tags": []}\n[1]', r"t\.csv, line 2: .* lacks"),
    ],
)
def test_bad_tables_name_file_and_line(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InvalidTagFile, match=message) as caught:
        read_tags(path)
    assert caught.value.fix


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"image,tags\n\xff\xfe,cat\n")
    with pytest.raises(InvalidTagFile, match="UTF-8"):
        read_tags(path)
    with pytest.raises(InvalidTagFile, match="cannot be read"):
        read_tags(tmp_path / "none.csv")


def test_byte_order_mark_and_suffix(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffimage,tags\nä.jpg,cat\n".encode())
    assert read_tags(path).find("ä.jpg") == TaggedImage(("cat",))


def test_folder_names():
    table = tags_from_folders([PurePath("cat/1.jpg"), PurePath("cat,dog/2.jpg"), PurePath("3.jpg")])
    assert dict(table) == {
        "cat/1.jpg": TaggedImage(("cat",), complete=False),
        "cat,dog/2.jpg": TaggedImage(("cat", "dog"), complete=False),
    }


def test_the_same_tags_for_all():
    assert tags_for_all(["a.jpg", "b/c.jpg"], ["cat", "cat", "dog"]).find("b/c.jpg") == CAT_AND_DOG
    assert split_tags(" cat ;; dog|cat") == ("cat", "dog")


def test_voc_annotations(tmp_path):
    (tmp_path / "2007_000032.xml").write_text(
        "<annotation><filename>2007_000032.jpg</filename>"
        "<object><name>person</name><difficult>1</difficult><part><name>head</name></part></object>"
        "<object><name>cat</name></object><object><name>person</name></object></annotation>"
    )
    (tmp_path / "2007_000033.xml").write_text("<annotation></annotation>")
    table = read_tags(tmp_path)
    assert dict(table) == {"2007_000032.jpg": TaggedImage(("person", "cat")), "2007_000033": TaggedImage(())}
    (tmp_path / "bad.xml").write_text("<annotation>")
    with pytest.raises(InvalidTagFile, match=r"bad\.xml"):
        read_tags(tmp_path)


def test_a_folder_without_annotations(tmp_path):
    with pytest.raises(InvalidTagFile, match="no annotation"):
        read_tags(tmp_path)


def coco(**changes) -> str:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 7, "category_id": 18},
            {"image_id": 7, "category_id": 17, "iscrowd": 1},
            {"image_id": 7, "category_id": 18},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
    }
    return json.dumps(content | changes)


def test_coco_instances(tmp_path):
    path = Path(tmp_path, "instances.json")
    path.write_text(coco())
    assert dict(read_tags(path)) == {"a.jpg": TaggedImage(("dog", "cat")), "b.jpg": TaggedImage(())}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "instances, line 1"),
        ("[]", "TypeError"),
        ("{}", "KeyError 'categories'"),
        (coco(annotations=[{"image_id": 99, "category_id": 17}]), "KeyError 99"),
    ],
)
def test_bad_coco_files(text, message):
    with pytest.raises(InvalidTagFile, match=message):
        parse_coco_instances(text)
