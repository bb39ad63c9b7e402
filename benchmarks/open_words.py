"""What becomes of a thing that is tagged with a word that the model does not know, where other tags are known.

    python -m benchmarks.open_words DATA/voc12-animals/val DATA/voc12-animals/val.csv
    python -m benchmarks.open_words DATA/coco-val DATA/coco-val/val.csv

In every photo with several tags each tag in turn is written as a word that nobody knows (`hidden`: the network has
seen such things), or is one that the model does not know anyway (`strange`: it has not). Of the pixels of that thing,
a share is called background and a share another tag: both are wrong; the rest is open. The price is what is open of
the known things and of the background.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from toco.model.errors import TocoError
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.options import preset_options
from toco.model.photos.classes import BACKGROUND, IGNORE, VOC
from toco.model.photos.tables.reading import read_tags

_STRANGE = "no such word"


def cases(folder: Path, table: Path, labeler: Labeler) -> Iterator[tuple[str, str, LabelRequest, list[str]]]:
    """Yield kind, thing, request and known tags of every case; see above."""
    for name, tagged in read_tags(table).items():
        known = [tag for tag in tagged.tags if tag in labeler.vocabulary]
        photo = folder / "JPEGImages" / name
        for tag in tagged.tags:
            others = [other for other in known if other != tag]
            if others:
                kind = "hidden" if tag in known else "strange"
                yield kind, tag, LabelRequest(photo, [*others, f"{_STRANGE} {tag}"], photo.stem), others


def main() -> None:
    """Print a table of shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("tags", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    labeler = Labeler.from_folder(device=arguments.device)
    asked = list(cases(arguments.folder, arguments.tags, labeler))
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    requests = (request for _, _, request, _ in asked)
    for (kind, thing, _, others), (request, label) in zip(
        asked, labeler.label(requests, preset_options(arguments.preset)), strict=True
    ):
        if isinstance(label, TocoError):
            raise label
        truth = np.array(Image.open(arguments.folder / "SegmentationClass" / f"{request.name}.png"))
        indices = [VOC.classes[VOC.channel(other)].index for other in others]
        wanted = truth == VOC.classes[VOC.channel(thing)].index
        found = counts[kind]
        found["cases"] += 1
        found["thing"] += int(wanted.sum())
        found["thing as background"] += int((wanted & (label.pseudo_mask == BACKGROUND)).sum())
        found["thing as another tag"] += int((wanted & np.isin(label.pseudo_mask, indices)).sum())
        for value, name in [*((index, "known") for index in indices), (BACKGROUND, "background")]:
            found[name] += int((truth == value).sum())
            found[f"{name} right"] += int(((truth == value) & (label.pseudo_mask == value)).sum())
            found[f"{name} open"] += int(((truth == value) & (label.pseudo_mask == IGNORE)).sum())
    print(f"{'':8} {'cases':>6} | thing: background  other tag   open | known: right   open | background: right   open")
    for kind, found in counts.items():
        wrong = [found[f"thing as {what}"] / found["thing"] for what in ("background", "another tag")]
        shares = [found[f"{of} {what}"] / found[of] for of in ("known", "background") for what in ("right", "open")]
        print(
            f"{kind:8} {found['cases']:6} | {wrong[0]:17.3f} {wrong[1]:10.3f} {1 - sum(wrong):6.3f} | "
            f"{shares[0]:12.3f} {shares[1]:6.3f} | {shares[2]:17.3f} {shares[3]:6.3f}"
        )


if __name__ == "__main__":
    main()
