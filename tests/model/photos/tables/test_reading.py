"""Tables of every kind mean the same, what was understood is said, and bad files say where they are bad."""

import io
import json
from pathlib import Path

import openpyxl
import pytest

from toco.model.photos.tables.cells import InvalidTagFile
from toco.model.photos.tables.reading import parse_table, read_table, read_tags
from toco.model.photos.tags import TaggedImage

CAT_AND_DOG = TaggedImage(("cat", "dog"))


def parse(text: str):
    return parse_table(text.encode(), "t.csv")


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
    table = parse(text).table
    assert dict(table) == {"a.jpg": CAT_AND_DOG, "b.jpg": TaggedImage(())}


def test_incomplete_lists_are_marked():
    text = "image,tags,complete\na.jpg,cat,0\nb.jpg,cat,1\nc.jpg,cat,no\nd.jpg,cat,\n"
    assert [row.complete for row in parse(text).table.values()] == [False, True, False, True]
    lines = '{"image": "a.jpg", "tags": ["cat"], "complete": false}\n{"image": "b.jpg", "tags": ["cat"]}'
    assert [row.complete for row in parse(lines).table.values()] == [False, True]
    # Two rows for one photo: complete only if both say so.
    assert not parse("a.jpg,cat,1\na.jpg,dog,0\n").table["a.jpg"].complete


def test_an_empty_list_is_not_a_missing_row():
    table = parse("image,tags\na.jpg,\n").table
    assert table.find("a.jpg") == TaggedImage(())
    assert table.find("b.jpg") is None


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


def test_byte_order_mark_and_suffix(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffimage,tags\nä.jpg,cat\n".encode())
    assert read_tags(path).find("ä.jpg") == TaggedImage(("cat",))


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
        ("{", "instances.json, line 1"),
        ("[]", "no row"),
        ("{}", "KeyError 'categories'"),
        (coco(annotations=[{"image_id": 99, "category_id": 17}]), "KeyError 99"),
    ],
)
def test_bad_coco_files(text, message):
    with pytest.raises(InvalidTagFile, match=message):
        parse_table(text.encode(), "instances.json")


WHOLE = {"cat.jpg": ("cat",), "dog.jpg": ("dog",), "both.jpg": ("cat", "dog")}
LISTS = ["cat.jpg,cat", "dog.jpg,dog", "both.jpg,cat;dog"]


def tags_of(reading) -> dict[str, tuple[str, ...]]:
    return {name: tagged.tags for name, tagged in reading.table.items()}


@pytest.mark.parametrize(
    "text",
    [
        # A further column with a header is never a tag.
        "image,tags,split\ncat.jpg,cat,train\ndog.jpg,dog,val\nboth.jpg,cat;dog,train\n",
        "split,tags,image\ntrain,cat,cat.jpg\nval,dog,dog.jpg\ntrain,cat;dog,both.jpg\n",
        "image,tags,train\ncat.jpg,cat,1\ndog.jpg,dog,0\nboth.jpg,cat;dog,1\n",
        "image,width,height,label\ncat.jpg,640,480,cat\ndog.jpg,640,480,dog\nboth.jpg,640,480,cat;dog\n",
        # What programs write beside the tags: pandas' index, boxes, confidences.
        ",filename,labels\n0,cat.jpg,cat\n1,dog.jpg,dog\n2,both.jpg,\"['cat', 'dog']\"\n",
        "filename,class,xmin,ymin\ncat.jpg,cat,1,2\ndog.jpg,dog,3,4\nboth.jpg,cat,1,2\nboth.jpg,dog,3,4\n",
        "ImageID,Source,LabelName,Confidence\ncat,v,cat,1\ndog,v,dog,1\ndog,v,cat,0\nboth,v,cat,1\nboth,v,dog,1\n",
        # One column a class, with what stands in for 0 and 1.
        "filename, cat, dog\ncat.jpg,1,0\ndog.jpg,0,1\nboth.jpg,1,1\n",
        "filename,Unlabeled,cat,dog\ncat.jpg,0,1,0\ndog.jpg,0,0,1\nboth.jpg,0,1,1\n",
        "image;cat;dog\ncat.jpg;TRUE;FALSE\ndog.jpg;FALSE;TRUE\nboth.jpg;TRUE;TRUE\n",
        "photo\tcat\tdog\ncat.jpg\tx\t\ndog.jpg\t\tx\nboth.jpg\tx\tx\n",
        "image,split,width,cat,dog\ncat.jpg,train,640,1.0,0.0\ndog.jpg,val,640,0.0,1.0\nboth.jpg,val,640,1.0,1.0\n",
        # Lists in a cell, and several cells.
        'image,tags\ncat.jpg,"[""cat""]"\ndog.jpg,["dog"]\nboth.jpg,"[""cat"", ""dog""]"\n',
        "image,tag1,tag2\ncat.jpg,cat,\ndog.jpg,dog,\nboth.jpg,cat,dog\n",
        "image|tags\ncat.jpg|cat\ndog.jpg|dog\nboth.jpg|cat,dog\n",
        "sep=;\nimage;tags\ncat.jpg;cat\ndog.jpg;dog\nboth.jpg;cat,dog\n",
        # Headers in other words, and none.
        "Bild,Inhalt\ncat.jpg,cat\ndog.jpg,dog\nboth.jpg,cat;dog\n",
        "file path,animal\ncat.jpg,cat\ndog.jpg,dog\nboth.jpg,cat;dog\n",
        "cat,cat.jpg\ndog,dog.jpg\ncat;dog,both.jpg\n",
        "cat.jpg,10,20,cat\ndog.jpg,10,20,dog\nboth.jpg,10,20,cat\nboth.jpg,30,40,dog\n",
        "cat.jpg,cat,train\ndog.jpg,dog,val\nboth.jpg,cat;dog,train\n",
        "cat.jpg;cat\ndog.jpg;dog\nboth.jpg;cat,dog\n",
        # JSON.
        json.dumps([{"image": name, "tags": tags} for name, tags in WHOLE.items()]),
        json.dumps(WHOLE),
        json.dumps([{"file_name": name, "cat": int("cat" in has), "dog": "dog" in has} for name, has in WHOLE.items()]),
        json.dumps([{"file": name, "labels": [{"name": tag} for tag in tags]} for name, tags in WHOLE.items()]),
        json.dumps([{"img": name, "labels": dict.fromkeys(tags, True)} for name, tags in WHOLE.items()], indent=1),
    ],
)
def test_further_columns_classes_lists_and_headers_of_every_kind(text):
    found = {name.partition(".")[0]: tags for name, tags in tags_of(parse(text)).items()}
    assert found == {name.partition(".")[0]: tags for name, tags in WHOLE.items()}


@pytest.mark.parametrize(
    "header",
    ["image_id", "image_path", "img", "file", "filename", "url", "Image Name", "ImagePath", "img-path", "photo"],
)
def test_a_header_is_never_taken_for_a_row(header):
    for second in ("tags", "labels", "class", "category_name"):
        reading = parse(f"{header},{second}\ncat.jpg,cat\n")
        assert tags_of(reading) == {"cat.jpg": ("cat",)}
        assert (reading.image_column, reading.tag_columns) == (header, (second,))


def test_what_was_understood_is_said():
    reading = parse("id,image,tags,split,colour\n7,a.jpg,cat,train,red\n8,a.jpg,dog,train,red\n9,b.jpg,,val,blue\n")
    assert reading.table["a.jpg"] == TaggedImage(("cat", "dog"), split="train")
    assert reading.ignored_columns == ("id", "colour")
    assert reading.kept_columns == ("split",)
    said = "\n".join(reading.lines())
    for part in ("commas", "utf-8", "3 rows, 2 photos", "'image'", "'tags'", "'split'", "'colour'", "differ", "no tag"):
        assert part in said
    assert reading.as_json()["tag_columns"] == ["tags"]


def test_cells_that_leave_a_class_open_make_the_list_incomplete():
    table = parse("image,cat,dog\na.jpg,1,-1\nb.jpg,1,0\nc.jpg,0,\n").table
    assert table["a.jpg"] == TaggedImage(("cat",), complete=False)
    assert table["b.jpg"] == TaggedImage(("cat",))
    assert table["c.jpg"].says_nothing
    assert parse("image,tags\na.jpg,nan\n").table["a.jpg"].says_nothing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,1,0,0\nb.jpg,0,1,0\n", "columns of numbers and no header"),
        ("image,cat,dog\na.jpg,0.9,0.2\nb.jpg,0.1,0.8\n", "no column of tags"),
        ("image,cat,dog\na.jpg,1,0.2\nb.jpg,0,0.8\n", "'dog' holds '0.2'"),
        ("image,cat,dog\na.jpg,1,2\nb.jpg,0,0\n", "'dog' holds '2'"),
        ("image,split\na.jpg,train\n", "no column of tags"),
        ("image\na.jpg\n", "no column of tags|one column alone"),
        ("a.jpg\nb.jpg\n", "one column alone"),
        ("tags,split\ncat,train\n", "no column of photos|no header"),
        ("a.jpg,cat,train\nb.jpg,dog,train\n", "a tag, or the part of a data set"),
        ("", "no row"),
        ("image,cat,dog\n", "no column of tags"),
        ('{"a.jpg": 7}', "COCO instances or lists of tags"),
        ("[1, 2]", "lacks"),
    ],
)
def test_what_may_mean_two_things_is_refused(text, message):
    with pytest.raises(InvalidTagFile, match=message) as caught:
        parse(text)
    assert caught.value.fix


def test_a_header_alone_lists_nothing():
    assert not parse("image,tags\n").table


def test_tags_that_are_numbers_are_told():
    assert "Some tags are numbers: '3'" in " ".join(parse("image,label\na.jpg,3\nb.jpg,cat\n").warnings)


@pytest.mark.parametrize(
    ("encoding", "known"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
    ],
)
def test_encodings_that_are_certain(encoding, known):
    reading = parse_table("image,tags\nküche.jpg,Möbel\n".encode(encoding))
    assert (tags_of(reading), reading.encoding) == ({"küche.jpg": ("Möbel",)}, known)
    assert not reading.warnings


@pytest.mark.parametrize(
    ("encoding", "name", "tag"),
    [
        ("cp1252", "Küche mit Gemüse.jpg", "Möbelstück"),
        ("cp1251", "Московская улица.jpg", "кошка"),
        ("shift_jis", "東京の写真.jpg", "ねこ"),
        ("gb18030", "北京的照片.jpg", "猫和狗"),
    ],
)
def test_encodings_that_are_guessed_are_said(encoding, name, tag):
    rows = "".join(f"{number} {name},{tag}\n" for number in range(20))
    reading = parse_table(f"image,tags\n{rows}".encode(encoding))
    assert reading.table[f"7 {name}"].tags == (tag,)
    assert "guessed" in reading.warnings[0]


def spreadsheet(*sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_spreadsheets():
    one_hot = [["filename", "cat", "dog", "split"], ["cat.jpg", 1, 0, "train"], [None], ["dog.jpg", False, True, "val"]]
    reading = parse_table(spreadsheet([], one_hot, [["notes"]]), "t.xlsx")
    assert tags_of(reading) == {"cat.jpg": ("cat",), "dog.jpg": ("dog",)}
    assert reading.table["dog.jpg"].split == "val"
    assert any("'S1'" in warning and "'S2'" in warning for warning in reading.warnings)
    listed = parse_table(spreadsheet([["image", "tags"], [1001, "cat; dog"]]), "t.xlsx")
    assert tags_of(listed) == {"1001": ("cat", "dog")}  # a number, not 1001.0


@pytest.mark.parametrize(
    "content",
    [spreadsheet([]), spreadsheet([["image", "tags"]])[:200], b"PK\x03\x04 no zip", b"\xd0\xcf\x11\xe0 no OLE"],
)
def test_spreadsheets_that_cannot_be_read(content):
    with pytest.raises(InvalidTagFile, match=r"t\.xlsx"):
        parse_table(content, "t.xlsx")


@pytest.mark.parametrize(
    "content", [b"image,tags\n\x00\x01\x02\x03", b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xd8\xff\xe0\x00"]
)
def test_files_that_are_no_text(content, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidTagFile):
        read_table(path)
    with pytest.raises(InvalidTagFile, match="cannot be read"):
        read_table(tmp_path / "none.csv")
