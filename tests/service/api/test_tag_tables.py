"""A table of tags before any photo is sent: what was understood, and which row is whose."""

import json

import pytest

TABLE = b"image,tags,split,note\na.jpg,cat;dog,val,x\nfarm/b.jpg,,train,\nlost.jpg,cow,train,\n"


@pytest.fixture
def preview(alone):
    def ask(table: bytes | str | None, photos: object = (), *, name: str = "t.csv"):
        files = {} if table is None or isinstance(table, str) else {"manifest": (name, table)}
        data = {"photos": photos if isinstance(photos, str) else json.dumps(photos)}
        data |= {"manifest": table} if isinstance(table, str) else {}
        return alone.post("/v1/tags/table", files=files or {"other": ("x", b"")}, data=data)

    return ask


def test_rows_are_matched_as_a_job_would(preview):
    found = preview(TABLE, ["photos/a.jpg", "b.jpg", "c.jpg"]).json()
    assert found["photos"] == {
        "photos/a.jpg": {"tags": ["cat", "dog"], "split": "val", "complete": True},
        "b.jpg": {"tags": [], "split": "train", "complete": True},
    }
    assert (found["table"]["kept_columns"], found["table"]["ignored_columns"]) == (["split"], ["note"])
    assert found["notes"] == ["1 row of 't.csv' names no photo: 'lost.jpg'.", "1 photo has no row: 'c.jpg'."]


def test_a_row_that_may_mean_several_photos_is_unclear(preview):
    found = preview(b"1.jpg,cat\n2.jpg,dog\n", ["a/1.jpg", "b/1.jpg", "2.jpg"]).json()
    assert set(found["photos"]) == {"2.jpg"}
    assert set(found["unclear"]) == {"a/1.jpg", "b/1.jpg"}
    assert "may be any of the photos" in found["unclear"]["a/1.jpg"]


def test_a_table_alone_and_as_text(preview):
    found = preview(TABLE.decode()).json()
    assert (found["table"]["rows"], found["photos"], found["notes"]) == (3, {}, [])


def test_names_may_come_as_a_file(alone):
    folder = "a/" * 60
    names = json.dumps([f"{folder}{n}.jpg" for n in range(9000)])
    assert len(names) > 2**20, "more than a field of text holds"
    files = {"manifest": ("t.csv", f"image,tags\n{folder}7.jpg,cat\n"), "photos": ("p.json", names)}
    answer = alone.post("/v1/tags/table", files=files)
    assert answer.status_code == 200, answer.text
    assert answer.json()["photos"].keys() == {f"{folder}7.jpg"}


def test_more_names_than_a_job_may_have_photos_are_refused(alone):
    names = json.dumps([f"{n}.jpg" for n in range(10_001)])
    answer = alone.post("/v1/tags/table", files={"manifest": ("t.csv", b"7.jpg,cat\n"), "photos": ("p.json", names)})
    assert answer.status_code == 422
    assert "10,001 names" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("table", "photos", "code"),
    [
        (None, [], "invalid_option"),
        (b"\x00\x01\x02", [], "invalid_tag_file"),
        (TABLE, "no json", "invalid_option"),
        (TABLE, {"a": 1}, "invalid_option"),
        (TABLE, ["x" * 600], "invalid_option"),
    ],
)
def test_what_is_wrong_is_said(preview, table, photos, code):
    answer = preview(table, photos)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["fix"]
