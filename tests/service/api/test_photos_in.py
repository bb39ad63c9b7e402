"""Photos and tables as people send them over REST: archives of every make, tables of every kind, nothing silent."""

import io
import zipfile

import pytest


def zipped(entries: dict[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def items(http):
    """Makes a job, and returns the answer and what became of each item before any worker saw it."""

    def make(files, **data) -> tuple[dict, dict[str, object]]:
        answer = http.post("/v1/jobs", files=files, data={"preset": "fast"} | data)
        assert answer.status_code == 202, answer.text
        made = answer.json()
        listed = http.get(f"/v1/jobs/{made['id']}/items").json()["items"]
        return made, {item["name"]: item["error"]["code"] if item["error"] else item["tags"] for item in listed}

    return make


@pytest.mark.parametrize(
    ("tables", "tags"),
    [
        ({"a/tags.csv": "image,tags\n1.jpg,cat\n", "b/tags.csv": "image,tags\n1.jpg,dog\n"}, (["cat"], ["dog"])),
        ({"a/tags.csv": "1.jpg,cat\n", "b/_classes.csv": "filename,cat,horse\n1.jpg,0,1\n"}, (["cat"], ["horse"])),
        ({"tags.csv": "image,tags,split\na/1.jpg,cat,train\nb/1.jpg,dog,val\n"}, (["cat"], ["dog"])),
        ({"a/tags.csv": "image,tags\n1.jpg,cat\n"}, (["cat"], "empty_tags")),
        ({"tags.csv": "image,tags\n1.jpg,cat\n"}, ("ambiguous_image_name", "ambiguous_image_name")),
        ({}, (None, None)),
    ],
)
def test_a_table_in_an_archive_counts_for_its_own_folder(items, jpeg, tables, tags):
    content = zipped({"a/1.jpg": jpeg(1), "b/1.jpg": jpeg(2)} | tables)
    made, found = items([("archive", ("p.zip", content))])
    assert found == {"a/1.jpg": tags[0], "b/1.jpg": tags[1]}
    assert {table["name"] for table in made["tables"]} == set(tables)


def test_archives_of_windows_and_photos_without_a_suffix(items, jpeg):
    content = bytearray(zipped({"cats/1.jpg": jpeg(1), "dogs/one": jpeg(2), "notes.txt": "x", ".DS_Store": "x"}))
    content = bytes(content).replace(b"cats/1.jpg", b"cats\\1.jpg").replace(b"dogs/one", b"dogs\\one")
    made, found = items([("archive", ("p.zip", content))], tags="cat")
    assert found == {"cats/1.jpg": ["cat"], "dogs/one": ["cat"]}
    assert made["notes"] == ["Left out, no photo: 'notes.txt'.", "Left out, hidden or the system's own: '.DS_Store'."]


def test_odd_entries_refuse_only_themselves(items, jpeg):
    made, found = items([("archive", ("p.zip", zipped({"../up.jpg": jpeg(1), "ok.jpg": jpeg(2)})))], tags="cat")
    assert found == {"ok.jpg": ["cat"], "up.jpg": "invalid_name"}
    assert "'../up.jpg'" in made["notes"][0]


def test_a_quotation_mark_in_the_name_of_a_file_is_one(items, jpeg):
    manifest = ("manifest", ("t.csv", b'image,tags\n"a""b.jpg",cat\n'))
    assert items([("images", ('a"b.jpg', jpeg(1))), manifest])[1] == {'a"b.jpg': ["cat"]}


def test_rows_and_photos_that_do_not_fit_are_told(items, jpeg):
    photos = [("images", ("a.jpg", jpeg(1))), ("images", ("b.jpg", jpeg(2)))]
    manifest = ("manifest", ("t.csv", b"image,tags\na.jpg,cat\nlost.jpg,dog\n"))
    made, found = items([*photos, manifest])
    assert found == {"a.jpg": ["cat"], "b.jpg": "empty_tags"}
    assert made["notes"] == ["1 row of 't.csv' names no photo: 'lost.jpg'.", "1 photo has no row: 'b.jpg'."]
    assert made["tables"][0]["tag_columns"] == ["tags"]
    for untagged, became in (("model", {"b.jpg": None}), ("background", {"b.jpg": []}), ("skip", {})):
        assert items([*photos, manifest], untagged=untagged)[1] == {"a.jpg": ["cat"]} | became


def test_one_field_an_image_and_a_blank_one(items, jpeg):
    photos = [("images", ("a.jpg", jpeg(1))), ("images", ("b.jpg", jpeg(2)))]
    assert items(photos, tags=["cat", ""])[1] == {"a.jpg": ["cat"], "b.jpg": "empty_tags"}
    assert items(photos, tags=["cat", ""], untagged="model")[1] == {"a.jpg": ["cat"], "b.jpg": None}
    assert items(photos)[1] == {"a.jpg": None, "b.jpg": None}


def test_a_manifest_beside_goes_before_the_tables_in_an_archive(items, jpeg):
    archive = zipped({"1.jpg": jpeg(1), "tags.csv": "image,tags\n1.jpg,cat\n"})
    manifest = ("manifest", ("t.csv", b"filename;dog;cat\nC:\\photos\\1.jpg;1;0\n"))
    assert items([("archive", ("p.zip", archive)), manifest])[1] == {"1.jpg": ["dog"]}


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        (b"image,tags\nimg_1.jpg,horse\n", "no_row_matches"),
        (b"1.jpg,1,0\n", "invalid_tag_file"),
        (b"image,split\n1.jpg,train\n", "invalid_tag_file"),
        (b"\x00\x01\x02", "invalid_tag_file"),
    ],
)
def test_a_table_that_says_nothing_of_these_photos_makes_no_job(http, jpeg, manifest, code):
    files = [("images", ("1.jpg", jpeg())), ("manifest", ("t.csv", manifest))]
    answer = http.post("/v1/jobs", files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    archive = zipped({"1.jpg": jpeg(), "tags.csv": manifest})
    answer = http.post("/v1/jobs", files=[("archive", ("p.zip", archive))])
    assert (answer.status_code, answer.json()["code"]) == (422, code)
