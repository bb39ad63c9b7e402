"""Image-level tags from annotation files: COCO instances and folders of VOC XML."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toco.model.photos.tables.cells import InvalidTagFile
from toco.model.photos.tags import TaggedImage


def coco_rows(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, TaggedImage]]:
    """Yield the photos of COCO instances and their tags; photos without annotations are tagged with nothing.

    Raises:
        InvalidTagFile: without the keys `images`, `annotations` and `categories`, or they do not fit together.
    """
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        tags: dict[Any, dict[str, None]] = {image["id"]: {} for image in content["images"]}
        for annotation in content["annotations"]:
            tags[annotation["image_id"]][names[annotation["category_id"]]] = None
        for image in content["images"]:
            yield str(image["file_name"]), TaggedImage(tuple(tags[image["id"]]))
    except (KeyError, TypeError) as error:
        raise InvalidTagFile(
            f"{name} does not fit COCO instances: {type(error).__name__} {error}.",
            fix="It needs images (id, file_name), annotations (image_id, category_id) and categories (id, name).",
        ) from None


def voc_rows(folder: Path) -> Iterator[tuple[str, TaggedImage]]:
    """Yield the photos of a folder of VOC XML annotations and every object named there, difficult ones too.

    Raises:
        InvalidTagFile: there is no XML file, or one does not fit.

    References:
        VOC 2012 development kit, section 3.2 (annotation files).
    """
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise InvalidTagFile(
            f"There is no annotation (*.xml) in the folder {str(folder)!r}.",
            fix="Name a folder of VOC XML annotations, or a CSV, .xlsx, JSON Lines or COCO JSON file.",
        )
    for path in files:
        try:
            root = ET.parse(path).getroot()  # noqa: S314 - expat has bounded entity expansion since 2.4.1
        except (ET.ParseError, OSError) as error:
            raise InvalidTagFile(f"{str(path)!r}: {error}.", fix="Mend or remove the annotation.") from None
        # `part` elements have names too (head, hand, foot): direct children alone.
        tags = (entry.strip() for entry in (child.findtext("name", "") for child in root.findall("object")))
        yield root.findtext("filename") or path.stem, TaggedImage(tuple(dict.fromkeys(tag for tag in tags if tag)))
