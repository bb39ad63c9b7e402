"""ADE20K scene parsing: 150 classes, no background.

References:
    Zhou et al., "Scene Parsing through ADE20K Dataset" (CVPR 2017); class names as in `objectInfo150.txt`, first
    spelling. Stored 0 is "other" and left out, which tools call `reduce_zero_label`.
"""

from pathlib import Path

from toco.model.evaluation.datasets.dataset import (
    BenchmarkDataset,
    InvalidDataset,
    existing_file,
    existing_folder,
    index_table,
    translated_mask,
)
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import Vocabulary

LAYOUT = "[ADEChallengeData2016/]{images,annotations}/{training,validation}"

ADE20K_NAMES: tuple[str, ...] = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
    "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
    "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
    "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
    "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
    "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
    "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver", "airplane",
    "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster",
    "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool",
    "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
    "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture",
    "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor",
    "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip

ADE20K = Vocabulary.of_names(ADE20K_NAMES)

_FOLDERS = {"train": "training", "val": "validation"}


def open_ade20k(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`).

    Args:
        root: the folder `ADEChallengeData2016`, or the one that holds it.
        split: which part.

    Raises:
        InvalidDataset: the layout differs.
    """
    folder = _FOLDERS.get(split, split)
    places = (base / "images" / folder for base in (root, root / "ADEChallengeData2016"))
    images = existing_folder(places, benchmark="ADE20K", layout=LAYOUT)
    masks = images.parents[1] / "annotations" / folder
    table = index_table({index: index for index in ADE20K.indices})
    samples = tuple(
        Sample(path.stem, path, translated_mask(existing_file(masks / f"{path.stem}.png"), table))
        for path in sorted(images.glob("*.jpg"))
    )
    if not samples:
        raise InvalidDataset(f"There is no *.jpg in {str(images)!r}.", fix=f"The layout of ADE20K is {LAYOUT}.")
    return BenchmarkDataset("ade20k", split, ADE20K, samples)
