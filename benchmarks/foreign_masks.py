"""What masks without classes are worth that a user has from elsewhere, with true segments broken up as stand-ins.

    python -m benchmarks.foreign_masks --data ../shared/data

No network that segments anything is at hand here, so the truth stands in for it, with its classes taken away: each
region of one class (`whole`), or that region cut by colour and place into three to six (`parts`), or both; always with
the background cut into twelve, and in `all` with the background as one mask too. Such edges are better than those of
any network: the figures say what the rule makes of good masks, not what a certain network brings. Labels are those of
the default model (`balanced`), with open pixels. Everything is drawn by the photo's name, so each run draws the same.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.machine import ROOT, provenance
from benchmarks.quality import SETS
from benchmarks.tables import place_in_file
from toco.model.errors import TocoError
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import ConfusionMatrix, MaskMapping
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.method.mask_merge import LabelMask, Pixels, merge_masks
from toco.model.options import MaskMerge, preset_options
from toco.model.photos.classes import BACKGROUND, IGNORE, VOC, Vocabulary
from toco.model.photos.images import read_image, read_mask
from toco.model.photos.tables.reading import read_tags

FIGURES: Final = ROOT / "docs" / "foreign_masks.json"
DOCUMENT: Final = ROOT / "docs" / "tables.md"
KINDS: Final = {
    "whole": "each object's region",
    "parts": "each cut into 3 to 6",
    "both": "regions and parts",
    "all": "regions, parts, the whole background",
}
RULES: Final = {"open": MaskMerge(), "keep": MaskMerge(rest="keep")}
_SMALLEST: Final = 50  # pixels of a region that becomes masks
_BACKGROUND_PARTS: Final = 12
_COLOUR: Final = 0.7  # of a step in Lab against one of a pixel


def cut(photo: npt.NDArray[np.uint8], region: Pixels, parts: int, rng: np.random.Generator) -> list[Pixels]:
    """Cut a region into parts that are alike in place and colour.

    Args:
        photo: (H, W, 3) uint8 Lab.
        region: its pixels.
        parts: how many.
        rng: chooses where they begin.
    """
    if len(region) < parts * _SMALLEST:
        return [region]
    y, x = np.divmod(region, photo.shape[1])
    colours = _COLOUR * photo.reshape(-1, 3)[region].astype(np.float32)
    places = np.concatenate([np.stack([y, x], axis=1).astype(np.float32), colours], axis=1)
    seeds = places[rng.choice(len(region), parts, replace=False)]
    nearest = np.stack([((places - seed) ** 2).sum(axis=1) for seed in seeds]).argmin(axis=0)
    return [region[nearest == part] for part in range(parts)]


def stand_ins(photo: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], seed: int) -> dict[str, list[Pixels]]:
    """Return masks without classes of each of `KINDS`.

    Args:
        photo: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8 mask indices, 255 left out.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB).astype(np.uint8)
    whole: list[Pixels] = []
    parts: list[Pixels] = []
    for index in np.unique(truth):
        if index in (BACKGROUND, IGNORE):
            continue
        count, regions = cv2.connectedComponents((truth == index).astype(np.uint8))
        for region in (np.flatnonzero(regions == number) for number in range(1, count)):
            if len(region) >= _SMALLEST:
                whole.append(region)
                parts += cut(lab, region, int(rng.integers(3, 7)), rng)
    rest = np.flatnonzero(truth == BACKGROUND)
    background = cut(lab, rest, _BACKGROUND_PARTS, rng) if len(rest) else []
    return {
        "whole": [*whole, *background],
        "parts": [*parts, *background],
        "both": [*whole, *parts, *background],
        "all": [*whole, *parts, *background, rest],
    }


class Counted:
    """Figures of one way to label."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.strict = ConfusionMatrix(classes)
        self.given = self.taken = 0

    def figures(self) -> dict[str, Any]:
        """Return mIoU, the share of open pixels, and how much of what is given to classes is right."""
        counts = self.strict.counts
        claimed = int(counts[:, 1:].sum())
        return {
            "miou": self.strict.mean_iou(),
            "open": self.strict.open_share,
            "right": float(np.trace(counts[1:, 1:])) / claimed if claimed else 0.0,
            "given": self.given,
            "taken": self.taken,
        }


def kept_labels(labeler: Labeler, requests: Sequence[LabelRequest], cache: Path | None) -> Iterator[LabelMask]:
    """Label photos, or read their masks from a folder where they are kept.

    Args:
        labeler: whose labels.
        requests: the photos.
        cache: the folder, or None.
    """
    if cache is None or any(not (cache / f"{request.name}.png").exists() for request in requests):
        for request, label in labeler.label(requests, preset_options("balanced")):
            if isinstance(label, TocoError):
                raise label
            if cache is not None:
                cache.mkdir(parents=True, exist_ok=True)
                Image.fromarray(label.pseudo_mask).save(cache / f"{request.name}.png")
            yield label.pseudo_mask
    else:
        yield from (read_mask(cache / f"{request.name}.png") for request in requests)


def measure(data: Path, cache: Path | None) -> dict[str, Any]:
    """Label the photos of each set once, and merge each kind of masks into the labels."""
    labeler = Labeler.from_folder()
    found: dict[str, Any] = {"model": labeler.spec.version, "sets": {}, "machine": provenance()}
    for key, (title, folder, judged) in SETS.items():
        root = data / folder
        tags = read_tags(next(path for path in (root / "val.csv", root.parent / "val.csv") if path.exists()))
        samples = folder_dataset(root / "JPEGImages", root / "SegmentationClass", VOC).samples
        classes = judged.split(",") if judged else list(labeler.vocabulary.names)
        rows = MaskMapping(VOC, Vocabulary.of_names(classes))
        ways = {"": Counted(classes)} | {f"{kind}-{rule}": Counted(classes) for kind in KINDS for rule in RULES}
        requests = [LabelRequest(sample.image, tags[sample.image.name].tags, sample.name) for sample in samples]
        labels = kept_labels(labeler, requests, cache / key if cache else None)
        for sample, label in zip(samples, labels, strict=True):
            truth = sample.read_truth()
            seed = int.from_bytes(sample.name.encode()[-6:], "big")
            ways[""].strict.update(rows(truth), rows(label))
            for kind, masks in stand_ins(read_image(sample.image).pixels, truth, seed).items():
                loaders = [partial(np.asarray, mask) for mask in masks]
                for rule, options in RULES.items():
                    merged, counts = merge_masks(label, loaders, options)
                    way = ways[f"{kind}-{rule}"]
                    way.strict.update(rows(truth), rows(merged))
                    way.given, way.taken = way.given + counts.given, way.taken + counts.taken
        found["sets"][key] = {"title": title, "ways": {name: way.figures() for name, way in ways.items()}}
    return found


def table() -> str:
    """Return the figures as a Markdown table."""
    sets = json.loads(FIGURES.read_text("utf-8"))["sets"].values()
    lines = ["| masks | rest | " + " | ".join(f"{entry['title']}: mIoU | right | open" for entry in sets) + " |"]
    lines.append("|---|---|" + "---|---|---|" * len(sets))
    ways = [("", "", "none")]
    ways += [(f"{kind}-{rule}", f"`{rule}`", text) for kind, text in KINDS.items() for rule in RULES]
    for way, rule, text in ways:
        figures = (entry["ways"][way] for entry in sets)
        cells = [f"{row['miou']:.3f} | {row['right']:.3f} | {row['open']:.3f}" for row in figures]
        lines.append(f"| {text} | {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals; without it, the table alone")
    parser.add_argument("--cache", type=Path, help="folder to keep the labels in")
    arguments = parser.parse_args()
    if arguments.data is not None:
        FIGURES.write_text(json.dumps(measure(arguments.data, arguments.cache), indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"foreign-masks": table()})


if __name__ == "__main__":
    main()
