"""Pages of a TIFF, each as a photo of its own."""

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tests.odd_inputs import encoded, picture, several
from toco.model.photos.images import ImageTooLarge, UnreadableImage, read_image
from toco.model.photos.pages import page_name, page_numbers, read_page


def tiff(*pages: Image.Image, **first) -> bytes:
    data = io.BytesIO()
    pages[0].save(data, "TIFF", save_all=True, append_images=pages[1:], **first)
    return data.getvalue()


def marked(kind: int) -> Image.Image:
    image = picture(10, 10)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[254] = kind
    image.encoderinfo = {"tiffinfo": directory}
    return image


def test_each_page_is_the_photo_that_it_was():
    pages = [picture(20, 30, seed) for seed in range(3)]
    content = tiff(*pages)
    assert page_numbers(content) == (0, 1, 2)
    for number, page in enumerate(pages):
        assert np.array_equal(read_image(read_page(content, number)).pixels, np.asarray(page))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBA", "LA"])
def test_samples_stay_as_they_are(mode):
    first, second = (picture(20, 30, seed).convert(mode) for seed in (1, 2))
    alone = read_image(encoded(second, "TIFF")).pixels
    assert np.array_equal(read_image(read_page(tiff(first, second), 1)).pixels, alone)


def test_sixteen_bits_and_turned_pages():
    grey = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    assert np.array_equal(read_image(read_page(tiff(grey, grey), 1)).pixels, read_image(encoded(grey, "TIFF")).pixels)
    turned = tiff(picture(20, 30), picture(20, 30), tiffinfo={274: 6})
    assert read_image(read_page(turned, 0)).pixels.shape == (30, 20, 3)
    assert read_image(read_page(turned, 0)).turned is False


def test_thumbnails_and_transparency_masks_are_no_pages():
    content = tiff(picture(20, 30), marked(1), picture(20, 30, 1), marked(4))
    assert page_numbers(content) == (0, 2)


def test_whatever_is_no_tiff_has_one():
    assert page_numbers(several("GIF")) == (0,)
    assert page_numbers(encoded(picture(), "JPEG")) == (0,)


def test_a_damaged_page_and_a_large_one_fail_alone():
    content = tiff(picture(20, 30), picture(20, 30, 1), picture(50, 60))
    assert page_numbers(content, max_pixels=600) == (0, 1, 2)
    with pytest.raises(ImageTooLarge, match="Page 3 has 3,000 pixels; the limit is 600"):
        read_page(content, 2, max_pixels=600)
    packed = tiff(*(picture(20, 30, seed) for seed in range(2)), compression="tiff_lzw")
    cut = packed[: len(packed) // 2] + bytes(len(packed) - len(packed) // 2)
    with pytest.raises(UnreadableImage, match="Page 2"):
        read_page(cut, 1)


def test_names_sort_as_pages_do():
    assert page_name("a/scan.tif", 2, 12) == "a/scan.page-02.tif"
    assert page_name("scan", 1, 3) == "scan.page-1.tif"
