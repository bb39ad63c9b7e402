"""The photo's own file in an export: its bytes where tools read them right, upright JPEG where they would not."""

import io

import pytest
from PIL import Image

from tests.odd_inputs import HEIGHT, WIDTH, encoded, picture, turned
from toco.model.formats.photo import export_photo


@pytest.mark.parametrize(
    ("name", "kind", "suffix"),
    [
        ("a.jpg", "JPEG", ".jpg"),
        ("a.JPG", "JPEG", ".JPG"),
        ("no-suffix", "JPEG", ".jpg"),
        ("a.heic", "JPEG", ".jpg"),  # albums that give out a JPEG under the name of the HEIC it was
        ("a.avif", "PNG", ".png"),
        ("a.heic", "HEIF", ".heic"),
        ("a.png", "PNG", ".png"),
    ],
)
def test_a_photo_is_copied_byte_for_byte_under_a_name_that_tools_go_by(name, kind, suffix):
    data = encoded(picture(), kind)
    assert export_photo(data, name) == (suffix, data)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_a_turned_photo_is_written_upright(kind):
    suffix, data = export_photo(turned(6, kind), f"a.{kind.lower()}")
    assert suffix == ".jpg"
    assert Image.open(io.BytesIO(data)).size == (HEIGHT, WIDTH)
