"""A folder of sixty odd inputs, as telephones, scanners, cameras and other systems leave them.

`python -m tests.odd_inputs FOLDER` makes it.
"""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, TiffImagePlugin

HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class Odd:
    """One input.

    Attributes:
        content: of the file.
        size: (height, width) of the upright photo, which its mask must have; None if it is refused.
        code: of the error with which it is refused.
        passed_over: it is no photo and claims not to be one: left out, and said.
    """

    content: bytes
    size: tuple[int, int] | None = (HEIGHT, WIDTH)
    code: str = ""
    passed_over: bool = False


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Image.Image:
    """Blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), kind, exif=exif.tobytes())


def grey(dtype, factor: float) -> Image.Image:
    return Image.fromarray((np.asarray(picture().convert("L"), np.float64) * factor).astype(dtype))


def with_alpha(mode: str) -> Image.Image:
    image = picture()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def several(kind: str, **options) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=[picture(seed=1), picture(seed=2)], **options)


def preview_of_a_raw_file() -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[254] = 1
    return encoded(picture(), "TIFF", tiffinfo=directory)


def inputs() -> dict[str, Odd]:
    """All of them, by path."""
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    quarter = (WIDTH, HEIGHT)
    kinds: dict[str, Callable[[], bytes]] = {
        "plain.jpg": lambda: jpeg,
        "progressive.jpg": lambda: encoded(picture(), "JPEG", progressive=True),
        "grey.jpg": lambda: encoded(picture().convert("L"), "JPEG"),
        "cmyk.jpg": lambda: encoded(picture().convert("CMYK"), "JPEG"),
        "telephone.mpo": lambda: several("MPO"),
        "rgb.png": lambda: png,
        "rgba.png": lambda: encoded(with_alpha("RGBA"), "PNG"),
        "grey-alpha.png": lambda: encoded(with_alpha("LA"), "PNG"),
        "palette.png": lambda: encoded(picture().quantize(16), "PNG"),
        "palette-transparent.png": lambda: encoded(picture().quantize(16), "PNG", transparency=2),
        "one-bit.png": lambda: encoded(picture().convert("1"), "PNG"),
        "sixteen-bit.png": lambda: encoded(grey(np.uint16, 257), "PNG"),
        "animated.png": lambda: several("PNG"),
        "animated.gif": lambda: several("GIF"),
        "transparent.gif": lambda: encoded(picture().quantize(16), "GIF", transparency=1),
        "lossy.webp": lambda: encoded(picture(), "WEBP"),
        "lossless-alpha.webp": lambda: encoded(with_alpha("RGBA"), "WEBP", lossless=True),
        "animated.webp": lambda: several("WEBP"),
        "scan.tif": lambda: encoded(picture(), "TIFF"),
        "pages.tif": lambda: several("TIFF"),
        "lzw.tif": lambda: encoded(picture(), "TIFF", compression="tiff_lzw"),
        "fax.tif": lambda: encoded(picture().convert("1"), "TIFF", compression="group4"),
        "cmyk.tif": lambda: encoded(picture().convert("CMYK"), "TIFF"),
        "sixteen-bit.tif": lambda: encoded(grey(np.uint16, 257), "TIFF"),
        "float.tif": lambda: encoded(grey(np.float32, 1 / 255), "TIFF"),
        "thirty-two-bit.tif": lambda: encoded(grey(np.int32, 1000), "TIFF"),
        "windows.bmp": lambda: encoded(picture(), "BMP"),
        "telephone.heic": lambda: encoded(picture(), "HEIF"),
        "camera.hif": lambda: encoded(picture(), "HEIF", quality=90, chroma=444),
        "modern.avif": lambda: encoded(picture(), "AVIF"),
        # Names that lie, and names of all kinds.
        "png-in-truth.jpg": lambda: png,
        "heic-in-truth.jpg": lambda: encoded(picture(), "HEIF"),
        "no-suffix": lambda: jpeg,
        "photo.2024-01-15": lambda: jpeg,
        "UPPER.JPG": lambda: jpeg,
        "space in name .jpg": lambda: jpeg,
        "#hash.jpg": lambda: jpeg,
        "ünïcödé-写真.jpg": lambda: jpeg,
        "e\u0301-decomposed.jpg": lambda: jpeg,
        "comma,semicolon;.jpg": lambda: jpeg,
        "quote'and\".jpg": lambda: jpeg,
        "L" * 246 + ".jpg": lambda: jpeg,
        "deep/er/and/deeper/x.jpg": lambda: jpeg,
        "same.jpg": lambda: jpeg,
        "folder.jpg/inside.png": lambda: png,
    }
    found = {name: Odd(make()) for name, make in kinds.items()}
    found |= {
        f"exif-{number}.jpg": Odd(turned(number), quarter if number >= 5 else (HEIGHT, WIDTH)) for number in (3, 6, 7)
    }
    found["exif-6.tif"] = Odd(turned(6, "TIFF"), quarter)
    found["exif-8.heic"] = Odd(turned(8, "HEIF"), quarter)
    found["thin.png"] = Odd(encoded(picture(1, 300), "PNG"), (1, 300))
    found["wide.jpg"] = Odd(encoded(picture(20, 2000), "JPEG"), (20, 2000))
    found |= {
        name: Odd(content, None, code)
        for name, content, code in (
            ("empty.jpg", b"", "unsupported_image_format"),
            ("text.jpg", b"hello, I am no photo", "unsupported_image_format"),
            ("cut-short.jpg", jpeg[: len(jpeg) // 2], "unreadable_image"),
            ("cut-short.heic", encoded(picture(), "HEIF")[:200], "unreadable_image"),
            ("preview-of-raw.tif", preview_of_a_raw_file(), "unsupported_image_format"),
            ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image_format"),
        )
    }
    found |= {
        name: Odd(b"\x00\x00\x00\x18ftypisom and so on", None, passed_over=True) for name in ("clip.mp4", "notes.txt")
    }
    found |= {name: Odd(jpeg, None, passed_over=True) for name in (".hidden.jpg", "__MACOSX/._plain.jpg", "Thumbs.db")}
    return found


def make(folder: Path) -> dict[str, Odd]:
    """Write all of them under a folder, and return them."""
    found = inputs()
    for name, odd in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(odd.content)
    return found


if __name__ == "__main__":
    make(Path(sys.argv[1]))
