"""Photos are read whatever their name, mode or orientation, and refused with a reason when they cannot be."""

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from toco.model.photos import images
from toco.model.photos.images import (
    PHOTO_FORMATS,
    ImageHeader,
    ImageTooLarge,
    UnreadableImage,
    UnsupportedImageFormat,
    probe_image,
    read_image,
    read_mask,
)

SAMPLES = Path(__file__).parents[3] / "samples"
LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"},
            "HEIF": {"quality": -1, "chroma": 444}}  # fmt: skip


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":  # Pillow has no encoder of its own
        options["exif"] = options["exif"].tobytes() if "exif" in options else None
        pillow_heif.from_pillow(image).save(buffer, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def quadrants(height=24, width=40) -> np.ndarray:
    """Red, green / blue, white: every rotation and mirroring differs."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = 255
    return pixels


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))


@pytest.mark.parametrize("kind", PHOTO_FORMATS)
def test_every_format_is_known_by_its_content(kind, tmp_path):
    pixels = quadrants()
    data = encode(Image.fromarray(pixels), kind, **LOSSLESS.get(kind, {}))
    path = tmp_path / "photo.txt"
    path.write_bytes(data)
    for source in (data, path):
        assert probe_image(source) == ImageHeader(kind, 40, 24)
        decoded = read_image(source)
        assert decoded.original_size == (24, 40)
        assert decoded.pixels.shape == (24, 40, 3)
        assert decoded.pixels.dtype == np.uint8
        assert decoded.pixels.flags.c_contiguous
        # The middle of each quadrant: JPEG and AVIF ring at the edges.
        np.testing.assert_allclose(decoded.pixels[6::12, 10::20].astype(int), pixels[6::12, 10::20], atol=12)


def test_header_counts_pixels():
    assert probe_image(SAMPLES / "cat.jpg").pixels == np.prod(read_image(SAMPLES / "cat.jpg").original_size)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("long_side", [None, 40])
def test_exif_rotation_is_applied(orientation, kind, long_side):
    upright = quadrants(48, 80)
    # What a camera held in that way stores: EXIF 2.32, Orientation (row 0, column 0 of the stored picture).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else LOSSLESS.get(kind, {})
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    decoded = read_image(data, long_side=long_side)
    assert decoded.original_size == (48, 80)
    assert decoded.turned == (orientation > 1)
    assert decoded.pixels.shape == ((48, 80, 3) if long_side is None else (24, 40, 3))
    height, width = decoded.pixels.shape[:2]
    centres = decoded.pixels[height // 4 :: height // 2, width // 4 :: width // 2]
    np.testing.assert_allclose(centres.astype(int), upright[12::24, 20::40], atol=8)


def test_nonsense_orientation_is_taken_as_upright(monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 77
    data = encode(Image.fromarray(quadrants()), "JPEG", exif=exif)
    assert read_image(data).pixels.shape == (24, 40, 3)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "getexif", lambda _: {0x0112: "broken"})
    assert read_image(data).pixels.shape == (24, 40, 3)


GREY = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (4, 1))


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.fromarray(GREY), "PNG", as_rgb(GREY)),
        (Image.fromarray(GREY).convert("P"), "PNG", as_rgb(GREY)),
        (Image.fromarray(GREY > 100), "PNG", as_rgb(np.where(GREY > 100, 255, 0).astype(np.uint8))),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", as_rgb(GREY)),
        (Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF", as_rgb(GREY)),
        (Image.fromarray(GREY.astype(np.int32) * 257), "TIFF", as_rgb(GREY)),
        (Image.fromarray(GREY.astype(np.float32) / 255), "TIFF", as_rgb(GREY)),
        (Image.fromarray(quadrants()).convert("CMYK"), "TIFF", quadrants()),
        (Image.fromarray(quadrants()).convert("YCbCr"), "TIFF", quadrants()),
    ],
    ids=["L", "P", "1", "I;16 png", "I;16 tiff", "I", "F", "CMYK", "YCbCr"],
)
def test_modes_become_rgb(image, kind, expected):
    np.testing.assert_allclose(read_image(encode(image, kind)).pixels.astype(int), expected, atol=2)


def test_big_endian_16_bit_tiff():
    grey = GREY.astype(np.uint16) * 257
    image = Image.frombytes("I;16B", grey.shape[::-1], grey.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(encode(image, "TIFF")).pixels, as_rgb(GREY))


def test_wide_samples_without_agreed_white_are_stretched_to_their_range():
    heights = np.array([[-1000.0, 0.0, 1000.0, np.nan, np.inf]], np.float32)
    np.testing.assert_array_equal(
        read_image(encode(Image.fromarray(heights), "TIFF")).pixels[0, :, 0], [0, 128, 255, 128, 128]
    )
    counts = np.array([[0, 400_000, 1_000_000]], np.int32)
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(counts), "TIFF")).pixels[0, :, 0], [0, 102, 255])
    flat = np.full((2, 2), 7.0, np.float32)
    assert not read_image(encode(Image.fromarray(flat), "TIFF")).pixels.any()


def test_16_bit_colour_png():
    # Pillow cannot write it: one pixel, 16 bits a channel, built by hand.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\x00" + struct.pack(">HHH", 0xFF00, 0x8080, 0x0012)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert read_image(data).pixels.tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(mode):
    alpha = np.array([[0, 128, 255]], np.uint8)
    black = np.zeros((1, 3), np.uint8)
    layers = [black, black, black, alpha] if mode == "RGBA" else [black, alpha]
    data = encode(Image.merge(mode, [Image.fromarray(layer) for layer in layers]), "PNG")
    np.testing.assert_allclose(read_image(data).pixels[0, :, 1].astype(int), [255, 127, 0], atol=1)


def test_transparent_colour_of_palette_and_grey_is_laid_on_white():
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert read_image(encode(palette, "PNG", transparency=0)).pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]
    grey = Image.fromarray(np.array([[0, 9]], np.uint8))
    assert read_image(encode(grey, "PNG", transparency=0)).pixels[0, :, 0].tolist() == [255, 9]


def test_cmyk_jpeg_with_and_without_adobes_inversion():
    pixels = quadrants(32, 32)
    cmyk = Image.fromarray(pixels).convert("CMYK")
    adobe = encode(cmyk, "JPEG", quality=100)
    np.testing.assert_allclose(read_image(adobe).pixels[8::16, 8::16].astype(int), pixels[8::16, 8::16], atol=4)
    # The writer inverts as Adobe does: invert beforehand and drop the marker for a plain CMYK file.
    plain = encode(cmyk.point(lambda ink: 255 - ink), "JPEG", quality=100)
    start = plain.index(b"\xff\xee")
    length = struct.unpack(">H", plain[start + 2 : start + 4])[0]
    plain = plain[:start] + plain[start + 2 + length :]
    np.testing.assert_allclose(read_image(plain).pixels[8::16, 8::16].astype(int), pixels[8::16, 8::16], atol=4)


def test_a_jpeg_with_more_pictures_behind_is_a_jpeg():
    first, second = Image.fromarray(quadrants()), Image.new("RGB", (40, 24))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert probe_image(data) == ImageHeader("JPEG", 40, 24)
    np.testing.assert_allclose(read_image(data).pixels[6::12, 10::20].astype(int), quadrants()[6::12, 10::20], atol=12)


def test_animation_gives_its_first_picture():
    frames = [Image.fromarray(np.full((5, 6, 3), value, np.uint8)) for value in (10, 200)]
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        assert abs(int(read_image(data).pixels[2, 2, 0]) - 10) <= 3, kind


def test_samples_that_are_not_read_are_named():
    lab = Image.fromarray(quadrants()).convert("RGB")
    lab = Image.merge("LAB", lab.split())
    with pytest.raises(UnsupportedImageFormat, match="'LAB'"):
        read_image(encode(lab, "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("long_side", "expected"), [(100, (67, 100)), (600, (400, 600)), (9000, (400, 600))])
def test_long_side_shrinks_and_keeps_the_original_size(kind, long_side, expected):
    rows, columns = np.mgrid[0:400, 0:600]
    smooth = np.stack([rows * 255 / 400, columns * 255 / 600, (rows + columns) / 4], axis=2).astype(np.uint8)
    decoded = read_image(encode(Image.fromarray(smooth), kind), long_side=long_side)
    assert decoded.original_size == (400, 600)
    assert decoded.pixels.shape[:2] == expected
    reference = np.array(Image.fromarray(smooth).resize(expected[::-1], Image.Resampling.BOX))
    assert np.abs(decoded.pixels.astype(int) - reference).mean() < 3


def test_a_line_of_pixels_keeps_one_pixel_of_height():
    assert read_image(encode(Image.new("RGB", (3000, 1)), "PNG"), long_side=100).pixels.shape == (1, 100, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello world, this is text", "no image"),
        (b"%PDF-1.7 and so on......", "PDF"),
        (b"  <svg xmlns='http://www", "SVG"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "camera raw"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "MP4"),
    ],
)
def test_other_files_are_named(content, message):
    for read in (probe_image, read_image):
        with pytest.raises(UnsupportedImageFormat, match=message) as caught:
            read(content)
        assert "JPEG" in caught.value.fix


@pytest.mark.parametrize("kind", PHOTO_FORMATS)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow warns of corrupt metadata before it gives up
def test_truncated_files_are_refused(kind):
    rng = np.random.default_rng(0)
    data = encode(Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)), kind)
    for share in (0.02, 0.1, 0.5, 0.9):
        with pytest.raises((UnreadableImage, UnsupportedImageFormat)):
            read_image(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_corrupt_bytes_raise_nothing_else():
    rng = np.random.default_rng(1)
    for kind in PHOTO_FORMATS:
        clean = encode(Image.fromarray(quadrants()), kind)
        for _ in range(60):
            data = bytearray(clean)
            for position in rng.integers(0, len(data), 4):
                data[position] = rng.integers(0, 256)
            try:
                read_image(bytes(data), max_pixels=10_000)
            except (UnreadableImage, UnsupportedImageFormat, ImageTooLarge) as error:
                assert error.detail  # noqa: PT017 - any of the three is right, and no other


def test_missing_files_are_named(tmp_path):
    for source in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(UnreadableImage, match="cannot be opened"):
            read_image(source)


def test_limits_are_checked_before_decoding():
    data = png_header(20_001, 20_000)
    for read in (probe_image, read_image):
        with pytest.raises(ImageTooLarge, match=r"20,001 x 20,000 pixels; the limit is 400,000,000"):
            read(data)
    with pytest.raises(ImageTooLarge, match="limit is 99"):
        read_image(encode(Image.new("RGB", (10, 10)), "PNG"), max_pixels=99)
    assert read_image(encode(Image.new("RGB", (10, 10)), "PNG"), max_pixels=100).original_size == (10, 10)
    with pytest.raises(ImageTooLarge, match="bytes"):
        read_image(SAMPLES / "cat.jpg", max_bytes=1000)
    # The caller's limit counts, not Pillow's: no warning and no error about bombs (warnings are errors here).
    assert probe_image(data, max_pixels=10**9).pixels == 400_020_000


def test_gif_with_a_frame_beyond_its_screen_is_refused():
    data = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    start = data.index(b"\x2c\x00\x00\x00\x00\x04\x00\x04\x00")
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageTooLarge, match="GIF"):
        probe_image(bytes(data))


def test_parsers_and_decoders_out_of_memory_are_not_called_corrupt(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    data = encode(Image.new("RGB", (4, 4)), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", no_memory)
    with pytest.raises(MemoryError):
        read_image(data)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "_open", no_memory)
    with pytest.raises(MemoryError):
        read_image(data)


MEASURE = """
import resource, sys
from pathlib import Path
from toco.model.photos.images import ImageTooLarge, read_image
read_image(Path({cat!r}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(Path({photo!r}), long_side=1024)
except ImageTooLarge as error:
    print("refused", end=" ")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_kib(photo: Path) -> tuple[str, int]:
    program = MEASURE.format(cat=str(SAMPLES / "cat.jpg"), photo=str(photo))
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=SAMPLES.parent
    ).stdout.split()
    return " ".join(output[:-1]), int(output[-1])


def test_a_png_over_the_limit_costs_no_memory(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("1", (20_001, 20_000)).save(path)
    verdict, peak = peak_kib(path)
    assert verdict == "refused"
    assert peak < 40 * 1024  # its pixels would be 400 MB


def test_a_12_megapixel_jpeg_is_decoded_at_half_size(tmp_path):
    path = tmp_path / "large.jpg"
    Image.effect_noise((4000, 3000), 50).convert("RGB").save(path, quality=80)
    _, peak = peak_kib(path)
    assert peak < 40 * 1024  # 4000 x 3000 x 3 bytes alone would be 35 MiB, Pillow's own copy another 46 MiB


def test_masks_keep_their_indices():
    indices = np.array([[0, 1, 15, 255]], np.uint8)
    palette = Image.fromarray(indices, "P")
    palette.putpalette([200, 100, 50] * 256)
    for image in (palette, Image.fromarray(indices)):
        np.testing.assert_array_equal(read_mask(encode(image, "PNG")), indices)
    with pytest.raises(UnsupportedImageFormat, match="'RGB', not class indices"):
        read_mask(encode(Image.new("RGB", (2, 2)), "PNG"))


def test_reading_from_many_threads():
    expected = read_image(SAMPLES / "dog.jpg", long_side=64).pixels
    with ThreadPoolExecutor(8) as pool:
        for decoded in pool.map(lambda _: read_image(SAMPLES / "dog.jpg", long_side=64), range(32)):
            np.testing.assert_array_equal(decoded.pixels, expected)


def pages(kind: str, count: int = 3, **options) -> bytes:
    first = Image.fromarray(quadrants())
    others = [Image.new("RGB", first.size, (9 * number, 9, 9)) for number in range(1, count)]
    return encode(first, kind, save_all=True, append_images=others, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_of_animations_and_pages_the_first_is_read_and_the_number_is_told(kind, options):
    found = read_image(pages(kind, **options))
    assert found.pictures == 3
    np.testing.assert_allclose(found.pixels.astype(int), quadrants(), atol=2)
    assert read_image(encode(Image.fromarray(quadrants()), kind)).pictures == 1


def test_a_damaged_later_picture_does_no_harm():
    data = pages("TIFF")
    found = read_image(data[: len(data) - 50])
    np.testing.assert_array_equal(found.pixels, quadrants())


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"msf1"])
def test_heic_is_known_by_its_brands(brand):
    data = encode(Image.fromarray(quadrants()), "HEIF", **LOSSLESS["HEIF"])
    assert probe_image(data[:8] + brand + data[12:]).format == "HEIF"


def test_the_preview_of_a_camera_raw_file_is_not_taken_for_the_photo():
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[254] = 1  # a reduced copy, as in DNG, NEF and ARW
    data = encode(Image.fromarray(quadrants()), "TIFF", tiffinfo=directory)
    for read in (probe_image, read_image):
        with pytest.raises(UnsupportedImageFormat, match="camera raw"):
            read(data)


def huge_kinds():
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).resize((900, 600), Image.Resampling.BICUBIC)
    grey = np.asarray(colour.convert("L"))
    clear = colour.copy()
    clear.putalpha(Image.fromarray(grey))
    yield "RGB", encode(colour, "PNG")
    yield "RGBA", encode(clear, "PNG")
    yield "LA", encode(clear.convert("LA"), "PNG")
    yield "L", encode(Image.fromarray(grey), "TIFF")
    yield "1", encode(Image.fromarray(grey).convert("1"), "TIFF")
    yield "P", encode(colour.quantize(64), "PNG", transparency=3)
    yield "CMYK", encode(colour.convert("CMYK"), "TIFF")
    yield "I;16", encode(Image.fromarray(grey.astype(np.uint16) << 8), "PNG")
    yield "I", encode(Image.fromarray(grey.astype(np.int32) * 1000), "TIFF")
    yield "F", encode(Image.fromarray(grey.astype(np.float32) - 7), "TIFF")


HUGE_KINDS = dict(huge_kinds())


@pytest.mark.parametrize("mode", HUGE_KINDS)
@pytest.mark.parametrize("long_side", [100, 333, 700])
def test_huge_photos_look_as_if_they_were_converted_whole(mode, long_side, monkeypatch):
    data = HUGE_KINDS[mode]
    whole = read_image(data, long_side=long_side)
    monkeypatch.setattr(images, "HUGE_PIXELS", 40_000)  # bands of 10,000 pixels: 11 rows, or one
    banded = read_image(data, long_side=long_side)
    assert banded.pixels.shape == whole.pixels.shape
    assert banded.original_size == whole.original_size == (600, 900)
    difference = np.abs(banded.pixels.astype(int) - whole.pixels)
    assert difference.mean() < 1.0, mode
    assert difference.max() < 30
