"""The pictures of docs/page.md, taken anew: `python -m tests.service.page.screenshots`, or `make pictures`.

A service of its own labels the sample photos with the default model, and Debian's Chromium looks at it.
"""

import argparse
import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect

from tests.service.live import until
from tests.service.page.chromium import DESKTOP, PATIENCE_MS, PHONE, launched
from toco.model.photos.tables.reading import read_tags
from toco.model.photos.tags import TagTable
from toco.service.client.client import Client
from toco.service.one_machine.embedded import free_port
from toco.service.one_machine.supervisor import Program

ROOT: Final = Path(__file__).parents[3]
SAMPLES: Final = ROOT / "samples"
PHOTOS: Final = sorted(SAMPLES.glob("*.jpg"))  # as the job numbers them
IMAGES: Final = ROOT / "docs" / "images"
LABELLED_SECONDS: Final = 900.0  # the first label compiles the CRF
# A phone holds only the cards near its window.
DRAWN: Final = "[...document.querySelectorAll('article')].every((card) => card.querySelector('img')?.complete)"
MIRRORED: Final = 3  # photos of a second job
DATA_SET: Final = "pets"
OUTPUTS: Final = ("cam", "pseudo_mask", "segmentation", "overlay", "tokens")

logger = logging.getLogger(__name__)


def upload(page: Page, tags: TagTable) -> None:
    """Show photos with their tags, and a tag that is being written."""
    page.set_input_files("input[type=file]", PHOTOS)
    for photo in PHOTOS:
        field = page.get_by_role("combobox", name=f"Tags of {photo.name}", exact=True)
        field.press_sequentially(", ".join(tags[photo.name].tags) + ",")
    page.get_by_role("combobox", name="Tags of cat.jpg", exact=True).press_sequentially("po")
    expect(page.get_by_role("listbox").get_by_role("option", name="pony")).to_be_visible()


def gallery(page: Page) -> None:
    """Show the most doubtful labels first."""
    page.get_by_role("combobox", name="Sort").select_option("Most doubtful first")
    page.get_by_label("Labels", exact=True).evaluate("labels => scrollTo(0, labels.offsetTop - 80)")
    expect(page.locator("article", has_text="doubt").first).to_be_visible()
    until(lambda: page.evaluate(DRAWN))


def correct(page: Page) -> None:
    """Show what is to be looked at next, over the first labels in that order."""
    page.get_by_role("combobox", name="Sort").select_option("What to look at first")
    expect(page.get_by_role("link", name="Start correcting")).to_be_visible()
    expect(page.locator("article", has_text="doubt").first).to_be_visible()
    page.get_by_label("Next to look at").evaluate("panel => scrollTo(0, panel.offsetTop - 80)")
    until(lambda: page.evaluate(DRAWN))


def export(page: Page) -> None:
    """Show the export dialog over the gallery."""
    gallery(page)
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("radio", name="voc PASCAL VOC")).to_be_visible()


def item(page: Page, name: str) -> None:
    """Show one labelled photo."""
    page.goto(f"{page.url}/items/{PHOTOS.index(SAMPLES / name):06}")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()


def legend(page: Page) -> None:
    """Show a mask, with the pointer on the photo."""
    item(page, "person.jpg")
    page.locator("canvas").hover(position={"x": 380, "y": 320})


def wipe(page: Page) -> None:
    """Show a wipe between the masks before and after the CRF."""
    item(page, "dog.jpg")
    page.get_by_role("button", name="Wipe").click()
    page.get_by_role("combobox", name="Left of the wipe").select_option("Before CRF")


def cam(page: Page) -> None:
    """Show the CAM of one tag."""
    item(page, "horses.jpg")
    page.get_by_role("button", name="CAM", exact=True).click()


def mend(page: Page) -> None:
    """Show the editor, with what a smart stroke took."""
    item(page, "dog.jpg")
    page.get_by_role("button", name="Mend").click()
    canvas = page.locator("canvas.top")
    expect(canvas).to_be_visible()
    page.get_by_role("radio", name=re.compile("^bicycle")).check(force=True)
    canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center' })")
    box = canvas.bounding_box()
    drawn = canvas.get_attribute("data-drawn") or ""
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(canvas).not_to_have_attribute("data-drawn", drawn)


def reports(page: Page) -> None:
    """Show what deserves a look, and what the masks hold."""
    page.goto(f"{page.url}/reports")
    for begin, again in (("Look for trouble", "Look again"), ("Count", "Count again")):
        # What one picture asked for is there for the next.
        page.get_by_role("button", name=begin).or_(page.get_by_role("button", name=again)).first.click()
        expect(page.get_by_role("button", name=again)).to_be_enabled()
    expect(page.get_by_text("Classes that come together")).to_be_visible()


def data_set(page: Page) -> None:
    """Show a data set of two jobs, and what its masks hold."""
    page.goto(f"{page.url.partition('#')[0]}#/data-sets/{DATA_SET}")
    statistics = page.get_by_role("region", name="Statistics")
    statistics.get_by_role("button", name="Count").click()
    expect(statistics.get_by_text("Classes that come together")).to_be_visible()


class Picture(NamedTuple):
    """A file name, what it shows, and how the browser is set."""

    name: str
    show: Callable[[Page], None]
    options: dict[str, Any]


LIGHT: Final[dict[str, Any]] = {**DESKTOP, "color_scheme": "light"}
DARK: Final[dict[str, Any]] = {**DESKTOP, "color_scheme": "dark"}
HAND: Final[dict[str, Any]] = {**PHONE, "color_scheme": "light", "device_scale_factor": 1.5}
OF_THE_JOB: Final = (
    Picture("page-gallery-light", gallery, LIGHT),
    Picture("page-correct-light", correct, LIGHT),
    Picture("page-export-dark", export, DARK),
    Picture("page-item-light", legend, LIGHT),
    Picture("page-mend-light", mend, LIGHT),
    Picture("page-reports-light", reports, LIGHT),
    Picture("page-data-set-light", data_set, LIGHT),
    Picture("page-wipe-dark", wipe, DARK),
    Picture("page-cam-dark", cam, DARK),
    Picture("page-gallery-phone", gallery, HAND),
    Picture("page-item-phone", lambda page: item(page, "dog.jpg"), HAND),
)


@contextmanager
def service() -> Iterator[str]:
    """Run `toco up` with records of its own; gives its address."""
    with TemporaryDirectory() as folder:
        port = free_port()
        program = Program(["up", "--port", str(port)], {"TOCO_DATA_DIR": folder}, Path(folder) / "up.log")
        program.start()
        try:
            until(lambda: b"Ready" in program.log.read_bytes() or not program.is_alive(), LABELLED_SECONDS)
            yield f"http://127.0.0.1:{port}"
        finally:
            program.stop()


def take(browser: Browser, address: str, picture: Picture, folder: Path) -> None:
    """Write one picture."""
    context = browser.new_context(**picture.options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    picture.show(page)
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(folder / f"{picture.name}.png", optimize=True)
    context.close()
    logger.info("took %s", picture.name)


def main() -> None:
    """Label the sample photos, then take all pictures, or the one that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for the pictures")
    parser.add_argument("--only", default="", help="name of the one picture that is taken, such as page-wipe-dark")
    asked = parser.parse_args()
    folder: Path = asked.out
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    expect.set_options(timeout=PATIENCE_MS)
    tags = read_tags(SAMPLES / "tags.csv")
    with service() as url, Client(url) as client, TemporaryDirectory() as more:
        for photo in PHOTOS[:MIRRORED]:
            with Image.open(photo) as opened:
                ImageOps.mirror(opened).save(Path(more, photo.name), quality=92)
        jobs = [
            client.label_folder(place, tags=SAMPLES / "tags.csv", name=name, outputs=OUTPUTS)["id"]
            for place, name in ((SAMPLES, "Sample photos"), (Path(more), "Mirrored photos"))
        ]
        for job in jobs:
            client.wait(job, timeout_seconds=LABELLED_SECONDS)
        client.keep_data_set(DATA_SET, jobs)
        with launched() as browser:
            pictures = [(url, Picture("page-upload-light", lambda page: upload(page, tags), LIGHT))]
            pictures += [(f"{url}/#/jobs/{jobs[0]}", picture) for picture in OF_THE_JOB]
            for address, picture in pictures:
                if asked.only in ("", picture.name):
                    take(browser, address, picture, folder)


if __name__ == "__main__":
    main()
