"""The editor of masks as a person uses it, and a photo to mend whose tokens tell its parts apart."""

import io
import re

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.model.method.test_smart_strokes import IN_CAT, scene
from tests.service.live import until

CAT, DOG, HORSE, OPEN = 8, 12, 13, 255


def photo_of(scale: int, shade: int = 0) -> bytes:
    """Encode the drawn scene, darker by a twentieth for each shade."""
    file = io.BytesIO()
    drawn = (scene(scale)[0] * (1 - shade / 20)).astype(np.uint8)
    Image.fromarray(drawn).save(file, "JPEG", quality=92)
    return file.getvalue()


class Editor:
    """The editor of an open page, by places of the photo."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.get_by_role("button", name="Mend").click()
        self.canvas = page.locator("canvas.top")
        expect(self.canvas).to_be_visible()
        until(lambda: float(self.canvas.get_attribute("data-zoom") or 1) != 1)

    def draw_anew(self, scale: int) -> None:
        """Make all of the scene background, so that what follows is known; then a cat by a click and a line of dog."""
        self.choose("Brush", "background")
        self.size(400)
        self.drag((0, 60), (511, 60))
        self.drag((0, 380), (511, 380))
        self.choose("Smart stroke", "cat")
        self.smart(IN_CAT[0] * scale, IN_CAT[1] * scale)
        self.choose("Brush", "dog")
        self.size(20)
        self.drag((300, 200), (300, 300))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a photo's place."""
        self.canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center' })")
        k, left, top = (float(self.canvas.get_attribute(f"data-{name}")) for name in ("zoom", "x", "y"))
        box = self.canvas.bounding_box()
        return box["x"] + left + k * x, box["y"] + top + k * y

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=4)
        self.page.mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def smart(self, x: float, y: float) -> None:
        """Click with the smart stroke, and wait for what it takes."""
        before = self.canvas.get_attribute("data-drawn")
        self.click(x, y)
        expect(self.canvas).not_to_have_attribute("data-drawn", before)

    def choose(self, tool: str, name: str = "") -> None:
        self.page.get_by_role("button", name=tool, exact=True).click()
        if name:
            self.page.get_by_role("radio", name=re.compile(f"^{name}( |$)")).check(force=True)

    def size(self, pixels: int) -> None:
        self.page.evaluate(
            """pixels => {
                const slider = document.querySelector('[aria-valuetext$=pixels]');
                slider.value = Math.log(pixels);
                slider.dispatchEvent(new Event('input', { bubbles: true }));
            }""",
            pixels,
        )

    def keep(self) -> None:
        self.page.keyboard.press("s")
        expect(self.page.get_by_text("is what you see")).to_be_visible()


def mask_of(http: httpx.Client, job: str, item: str = "000000") -> np.ndarray:
    content = http.get(f"/v1/jobs/{job}/items/{item}/artifacts/pseudo_mask.png").content
    return np.array(Image.open(io.BytesIO(content)))
