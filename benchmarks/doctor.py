"""How well the tag doctor finds tags that were spoilt on purpose.

    python -m benchmarks.doctor --data ../shared/data --json docs/doctor.json

One tag in ten is exchanged for another class at random, in several draws; the doctor's suspects are compared with what
was spoilt, as pairs of photo and class: a wrong tag, and the one that is missing instead. The photos are those of VOC
2012 val, animal subset (212), which the default model was not trained on.
"""

import argparse
import csv
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toco.model.labelling.labeler import Labeler
from toco.model.labelling.tag_scores import examined
from toco.model.photos.images import read_image
from toco.model.photos.tag_doctor import ExaminedPhoto, doubted_tags

Pair = tuple[str, str]
Point = tuple[float, float]
RECALLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--spoilt", type=float, default=0.1)
    parser.add_argument("--draws", type=int, default=10)
    asked = parser.parse_args()
    labeler = Labeler.from_folder(device="cpu")
    photos = look(labeler, asked.data / "voc12-animals")
    runs = [measure(photos, labeler.vocabulary.names, asked.spoilt, seed) for seed in range(asked.draws)]
    curve = {f"{recall:.1f}": precision_at(runs, recall) for recall in RECALLS}
    found: dict[str, Any] = {
        "photos": len(photos),
        "tags": sum(len(photo.tags) for photo in photos),
        "spoilt": asked.spoilt,
        "draws": asked.draws,
        "model": labeler.spec.version,
        "suspects_of_unspoilt_tags": sum(1 for _ in doubted_tags(photos, labeler.vocabulary.names)),
        "precision_at_recall": curve,
        "all_suspects": {
            "precision": round(float(np.mean([run[-1][1] for run in runs])), 3),
            "recall": round(float(np.mean([run[-1][0] for run in runs])), 3),
        },
    }
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def look(labeler: Labeler, root: Path) -> list[ExaminedPhoto]:
    """Read the photos of the subset and what the classifier believes of them."""
    with (root / "val.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: frozenset(filter(None, row["tags"].split(";"))) for row in csv.DictReader(file)}
    photos = []
    for name, tags in rows.items():
        decoded = read_image((root / "val" / "JPEGImages" / name).read_bytes(), long_side=labeler.spec.input_size)
        photos.append(examined(labeler, decoded, name, tags))
    return photos


def measure(photos: Sequence[ExaminedPhoto], classes: Sequence[str], share: float, seed: int) -> list[Point]:
    """Spoil tags, ask the doctor, and return (recall, precision) after each suspect, the surest first."""
    spoilt, truth = spoil(photos, classes, share, seed)
    suspects = sorted(doubted_tags(spoilt, classes), key=lambda finding: -finding.score)
    hits = np.cumsum([(finding.photos[0], finding.tag) in truth for finding in suspects]).tolist()
    return [(hit / len(truth), hit / (at + 1)) for at, hit in enumerate(hits)]


def spoil(
    photos: Sequence[ExaminedPhoto], classes: Sequence[str], share: float, seed: int
) -> tuple[list[ExaminedPhoto], set[Pair]]:
    """Exchange a share of all tags for other classes; return the photos, and the pairs that are wrong now."""
    chance = random.Random(seed)  # noqa: S311 - a draw, no secret
    tags = {photo.name: set(photo.tags) for photo in photos}
    pairs = sorted((photo.name, tag) for photo in photos for tag in photo.tags)
    wrong: set[Pair] = set()
    for name, tag in chance.sample(pairs, round(share * len(pairs))):
        other = chance.choice([found for found in classes if found not in tags[name] | {tag}])
        tags[name] = tags[name] - {tag} | {other}
        wrong ^= {(name, tag), (name, other)}
    return [replace(photo, tags=frozenset(tags[photo.name])) for photo in photos], wrong


def precision_at(runs: Sequence[Sequence[Point]], recall: float) -> float | None:
    """Return the mean precision where a recall is first reached; None where a draw does not reach it."""
    reached = [next((precision for found, precision in run if found >= recall), None) for run in runs]
    return None if None in reached else round(float(np.mean([value for value in reached if value is not None])), 3)


if __name__ == "__main__":
    main()
