"""`toco preview`: a sheet of photos, maps and masks."""

import pytest
from PIL import Image


@pytest.fixture
def sheet(tmp_path):
    return tmp_path / "deep" / "sheet.png"


def test_a_sheet_of_some_photos(toco, quick, photos, sheet):
    (photos / "broken.jpg").unlink()
    result = toco("preview", photos, "--tag", "cat", "--out", sheet, "--cell", 80, "--no-crf", *quick)
    assert result.exit_code == 0, result.output
    assert "3 photos:" in result.output
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert picture.width > 4 * 80
        three = picture.height
    toco("preview", photos, "--tag", "cat", "--out", sheet, "--cell", 80, "--no-crf", "--limit", 1, *quick)
    with Image.open(sheet) as picture:
        assert picture.height < three


def test_photos_without_tags_and_broken_ones(toco, quick, photos, sheet):
    result = toco("preview", photos, "--out", sheet, "--cell", 64, "--no-crf", *quick)
    assert result.exit_code == 1
    assert "failed: broken.jpg" in result.stderr
    assert sheet.exists()


def test_a_photo_whose_tags_are_ambiguous_is_told(toco, quick, photos, sheet, tmp_path):
    table = tmp_path / "tags.csv"
    table.write_text("x/a.jpg,cat\ny/a.jpg,dog\nb.png,dog\nfarm/c.jpg,horse\nbroken.jpg,cat\n")
    (photos / "broken.jpg").unlink()
    result = toco("preview", photos, "--tags", table, "--out", sheet, "--cell", 64, "--no-crf", *quick)
    assert result.exit_code == 1
    assert "failed: a.jpg: 'a.jpg' may be any of the rows" in result.stderr
    assert "2 photos" in result.output


def test_nothing_to_show(toco, quick, photos, sheet, tmp_path):
    (tmp_path / "empty").mkdir()
    assert toco("preview", tmp_path / "empty", "--out", sheet).exit_code == 2
    only_broken = toco("preview", photos / "broken.jpg", "--out", sheet, *quick)
    assert only_broken.exit_code == 1
    assert not sheet.exists()
