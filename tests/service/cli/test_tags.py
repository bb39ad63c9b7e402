"""`toco tags show`, `toco tags check`, and what `toco label` says of tables before it begins."""

import json

import pytest

from tests.drawn_words import SPOILT, spoilt_job


@pytest.fixture
def out(tmp_path):
    return tmp_path / "labels"


def labelled(out) -> dict[str, list[str]]:
    found = (out / "artifacts").rglob("result.json")
    return {str(path.parent.relative_to(out / "artifacts")): json.loads(path.read_text())["tags"] for path in found}


@pytest.mark.parametrize(
    "text",
    [
        "image,tags,split\na.jpg,cat,train\nb.png,dog,train\nfarm/c.jpg,horse,val\n",
        "filename, cat, dog, horse\na.jpg,1,0,0\nb.png,0,1,0\nc.jpg,0,0,1\n",
        "image_path;labels\nC:\\data\\photos\\a.jpg;cat\nC:\\data\\photos\\b.png;dog\nC:\\photos\\farm\\c.jpg;horse\n",
    ],
)
def test_a_table_is_understood_and_what_was_is_said(toco, quick, photos, out, text):
    (photos / "broken.jpg").unlink()
    (photos / "tags.csv").write_text(text)  # among the photos: no option names it
    result = toco("label", photos, "--out", out, "--no-crf", *quick)
    assert result.exit_code == 0, result.output
    assert labelled(out) == {"a.jpg": ["cat"], "b.png": ["dog"], "farm/c.jpg": ["horse"]}
    assert "tags.csv: a table with" in result.stderr


def test_tables_are_shown_before_any_work(toco, photos, tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes("image,tags,split,colour\na.jpg,Möbel;cat,train,red\nB.PNG,dog,val,red\n".encode("utf-16"))
    shown = toco("tags", "show", table, "--images", photos)
    assert shown.exit_code == 0, shown.output
    for part in ("commas", "utf-16", "'split'", "not used: 'colour'", "a.jpg: Möbel, cat [train]",
                 "'B.PNG' (is 'B.PNG' the photo 'b.png'?)", "have no row: 'b.png'"):  # fmt: skip
        assert part in shown.output
    listed = json.loads(toco("tags", "show", table, "--json").stdout)
    assert [row["tags"] for row in listed["listed"]] == [["Möbel", "cat"], ["dog"]]


def test_a_table_of_other_photos_is_refused(toco, quick, photos, tmp_path, out):
    table = tmp_path / "t.csv"
    table.write_text("image,tags\nimg_1.jpg,cat\n")
    for arguments in (("tags", "show", table, "--images", photos), ("label", photos, "--tags", table, "--out", out)):
        result = toco(*arguments)
        assert result.exit_code == 2
        assert "1 row of" in result.stderr
    assert not out.exists()


def test_words_are_listed_with_what_they_mean(toco):
    result = toco("tags", "check", "kitty", "hors", "truck", "boxer")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "boxer: ambiguous, 1 photo; did you mean dog or person?",
        "hors: unknown, 1 photo; did you mean horse?",
        "truck: unknown, 1 photo",
        "kitty -> cat (kind), 1 photo",
        "4 photos with tags; 3 with a word that is left open, 3 with no other",
    ]


def test_the_words_of_a_table_with_a_mapping(toco, tmp_path):
    (tmp_path / "tags.csv").write_text("a.jpg,Hund;cats\nb.jpg,cats;schön\n")
    (tmp_path / "map.csv").write_text("Hund,dog\nschön,\n")
    result = toco("tags", "check", tmp_path / "tags.csv", "--map", tmp_path / "map.csv")
    assert result.exit_code == 0
    assert "cats -> cat (plural), 2 photos" in result.stdout
    assert "schön: ignored, 1 photo" in result.stdout
    found = json.loads(toco("tags", "check", tmp_path / "tags.csv", "--json").stdout)
    assert [word["written"] for word in found["words"]] == ["Hund", "schön", "cats"]


def test_the_doctor_says_what_deserves_a_look_and_changes_nothing(toco, tiny_model, photos):
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    table = photos / "tags.csv"
    table.write_text("image,tags\na.jpg,cat\nb.png,dog;unicorn\nfarm/c.jpg,horse\ncopy.jpg,dog\nbroken.jpg,cat\n")
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    result = toco("tags", "doctor", photos, "--model", tiny_model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "4 photos looked at, 1 unreadable" in result.stdout
    assert "2 photos look alike, and their tags differ. (a.jpg, copy.jpg)" in result.stdout
    assert "64 x 48 pixels" in result.stdout
    assert "'unicorn' is on 1 photo;" in result.stdout
    found = json.loads(toco("tags", "doctor", photos, "--model", tiny_model, "--device", "cpu", "--json").stdout)
    assert {finding["kind"] for finding in found["findings"]} == {
        "looks_alike", "too_small", "too_few", "not_checked",
    }  # fmt: skip
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


def test_the_doctor_finds_spoilt_tags_of_words_that_the_model_does_not_know(toco, tiny_model, tmp_path):
    folder, rows = tmp_path / "drawn", ["image,tags"]
    folder.mkdir()
    for n, (name, (words, content)) in enumerate(spoilt_job().items()):
        (folder / name).write_bytes(content)
        rows.append(f"{name},{';'.join((*words, *(['rarity'] if n < 2 else [])))}")
    (folder / "tags.csv").write_text("\n".join(rows))
    asked = ("tags", "doctor", folder, "--model", tiny_model, "--device", "cpu")
    found = json.loads(toco(*asked, "--json").stdout)["findings"]
    assert {tuple(finding["photos"]) for finding in found if finding["kind"] == "wrong_tag"} == {
        (name,) for name in SPOILT
    }
    told = toco(*asked).stdout
    assert "Words whose tags were not checked: 1" in told
    assert "'rarity' is not checked: 10 photos have to have it, and 2 do." in told


def test_the_doctor_needs_tags(toco, tiny_model, photos):
    refused = toco("tags", "doctor", photos, "--model", tiny_model, "--device", "cpu")
    assert refused.exit_code == 2
    assert "There are no tags to look at" in refused.output
