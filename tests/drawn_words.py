"""Drawn photos of things that no model knows: a coloured square on grey for each word."""

import io

import numpy as np
from PIL import Image

COLOURS = {"gadget": (200, 40, 40), "widget": (40, 180, 60), "cat": (50, 60, 210)}
SIDE = 96
SPOILT = ("03.png", "08.png", "21.png")


def drawn_photo(words: tuple[str, ...], seed: int) -> bytes:
    """Return a PNG of grey noise with a square for each word, side by side."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    for place, word in enumerate(words):
        left, top = 6 + 48 * (place % 2), int(rng.integers(6, 50))
        pixels[top : top + 36, left : left + 36] = np.array(COLOURS.get(word, (210, 190, 40))) + rng.integers(-9, 9, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def drawn_job(count: int = 24, *, seed: int = 0) -> dict[str, tuple[tuple[str, ...], bytes]]:
    """Return photos by name with their words: gadgets, widgets, both, and cats; one rare thing."""
    kinds = [("gadget",), ("widget",), ("gadget", "cat"), ("widget", "gadget"), ("cat",), ("widget",)]
    found = {f"{n:02d}.png": kinds[n % len(kinds)] for n in range(count)}
    found[f"{count:02d}.png"] = ("rarity",)
    return {name: (words, drawn_photo(words, seed * 1000 + n)) for n, (name, words) in enumerate(found.items())}


def spoilt_job(count: int = 40) -> dict[str, tuple[tuple[str, ...], bytes]]:
    """Return photos of gadgets and widgets in turn, by name with their words; `SPOILT` have the other's word."""
    kinds = ("gadget", "widget")
    names = [f"{n:02d}.png" for n in range(count)]
    return {
        name: ((kinds[(n + (name in SPOILT)) % 2],), drawn_photo((kinds[n % 2],), n)) for n, name in enumerate(names)
    }
