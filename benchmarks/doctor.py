"""How well the tag doctor finds tags that were spoilt on purpose.

    python -m benchmarks.doctor --data ../shared/data                  # classes of the model, and the same as words
    python -m benchmarks.doctor --data ../shared/data --beside runs/voc16   # words that a model has never seen

One tag in ten is exchanged for another class at random, in several draws; the doctor's suspects of all draws, the
surest first, are compared with what was spoilt, as pairs of photo and class: a wrong tag, and the one that is missing
instead. The photos are those of VOC 2012 val, animal subset (212), which the default model was not trained on. Then the
model is told not to know the six classes that many of them show, and the doctor has to learn them from the photos. Its
encoder was trained on them all the same: so `--beside` asks how well four classes are recognised of which a model of
the other sixteen was told nothing (`benchmarks.own_words_beside` says where to get it). `--tables` writes the tables
from the JSON as it stands.
"""

import argparse
import csv
import json
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT
from benchmarks.own_words_beside import WORDS as UNSEEN
from benchmarks.own_words_beside import teaching
from benchmarks.tables import place_in_file
from toco.model.labelling.labeler import Labeler
from toco.model.labelling.tag_scores import examined
from toco.model.photos.images import read_image
from toco.model.photos.tag_doctor import RECOGNISED, ExaminedPhoto, Finding, doubted_classes, doubted_words, groups_of
from toco.model.photos.word_beliefs import taught

Pair = tuple[str, str]
Suspect = tuple[float, bool]
WORDS = ("cat", "cow", "dog", "horse", "person", "sheep")
RECALLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FIGURES = ROOT / "docs" / "doctor.json"
DOCUMENT = ROOT / "docs" / "tags.md"
_OTHERS = 200  # photos of none of the unseen words


def main() -> None:
    """Measure, write the figures as JSON and the tables into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--beside", type=Path, help="folder of the model of sixteen classes")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--spoilt", type=float, default=0.1)
    parser.add_argument("--draws", type=int, default=10)
    asked = parser.parse_args()
    figures = json.loads(FIGURES.read_text("utf-8"))
    if asked.beside:
        figures["beside"] = beside(Labeler.from_folder(asked.beside, device="cpu"), asked.data)
    elif not asked.tables:
        labeler = Labeler.from_folder(device="cpu")
        photos = look(labeler, of_validation(asked.data / "voc12-animals"))
        figures |= compared(labeler, photos, asked.spoilt, asked.draws)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    tables = {"doctor": table(figures)} | (
        {"doctor-beside": beside_table(figures["beside"])} if "beside" in figures else {}
    )
    place_in_file(DOCUMENT, tables)


def compared(labeler: Labeler, photos: Sequence[ExaminedPhoto], share: float, draws: int) -> dict[str, Any]:
    """Return the figures of the classes, of the words by the classifier, and of the same as words it does not know."""
    names = labeler.vocabulary.names
    rest = [name for name in names if name not in WORDS]
    channels = [names.index(name) for name in rest]
    untold = [replace(photo, scores=photo.scores[channels]) for photo in photos]
    return {
        "photos": len(photos),
        "tags": sum(len(photo.tags) for photo in photos),
        "spoilt": share,
        "draws": draws,
        "model": labeler.spec.version,
        "classes": curve(photos, names, names, share, draws),
        "words_by_classifier": curve(photos, names, WORDS, share, draws),
        "words_taught": curve(untold, rest, WORDS, share, draws, spoilt_among=names),
    }


def beside(labeler: Labeler, data: Path) -> dict[str, Any]:
    """Return how well each of four words is recognised that a model was never told of."""
    shown = {
        photo.name: (photo.source, frozenset(photo.tags or ()))
        for photo in teaching(data, _OTHERS)[::2]
        if isinstance(photo.source, Path)
    }
    photos = look(labeler, shown)
    looks, groups = np.stack([photo.look for photo in photos]), np.arange(len(photos))
    tagged = {word: np.array([word in photo.tags for photo in photos]) for word in UNSEEN}
    return {
        "model": labeler.spec.version,
        "photos": len(photos),
        "least": RECOGNISED,
        "words": {
            word: {"photos": int(has.sum()), "recognised": round(taught(looks, has, groups).recognised, 3)}
            for word, has in tagged.items()
        },
    }


def of_validation(root: Path) -> dict[str, tuple[Path, frozenset[str]]]:
    """Return path and tags of the photos of the validation subset, by name."""
    with (root / "val.csv").open(encoding="utf-8") as file:
        return {
            row["image"]: (root / "val" / "JPEGImages" / row["image"], frozenset(filter(None, row["tags"].split(";"))))
            for row in csv.DictReader(file)
        }


def look(labeler: Labeler, photos: dict[str, tuple[Path, frozenset[str]]]) -> list[ExaminedPhoto]:
    """Read photos, and what the model sees in them."""
    return [
        examined(labeler, read_image(path.read_bytes(), long_side=labeler.spec.input_size), name, tags)
        for name, (path, tags) in photos.items()
    ]


def curve(
    photos: Sequence[ExaminedPhoto],
    classes: Sequence[str],
    judged: Collection[str],
    share: float,
    draws: int,
    *,
    spoilt_among: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the suspects of some classes or words are worth.

    Args:
        photos: with the tags as they are.
        classes: that the classifier is asked about.
        judged: whose pairs count.
        share: of the tags that is spoilt.
        draws: how often.
        spoilt_among: what a tag is exchanged for; `classes` if there is none.
    """
    suspects: list[Suspect] = []
    there = 0
    for seed in range(draws):
        spoilt, wrong = spoil(photos, spoilt_among or classes, share, seed)
        truth = {pair for pair in wrong if pair[1] in judged}
        there += len(truth)
        suspects += [(found.score, (found.photos[0], found.tag) in truth) for found in doubted(spoilt, classes, judged)]
    right = np.array([hit for _, hit in sorted(suspects, key=lambda suspect: -suspect[0])])
    recall, precision = np.cumsum(right) / there, np.cumsum(right) / np.arange(1, len(right) + 1)
    reached = [np.flatnonzero(recall >= wanted)[:1] for wanted in RECALLS]
    return {
        "precision_at_recall": {
            f"{wanted:.1f}": round(float(precision[at[0]]), 3) if len(at) else None
            for wanted, at in zip(RECALLS, reached, strict=True)
        },
        "all_suspects": {"precision": round(float(precision[-1]), 3), "recall": round(float(recall[-1]), 3)},
        "spoilt_pairs": there,
        "suspects_of_unspoilt_tags": len(doubted(photos, classes, judged)),
    }


def doubted(photos: Sequence[ExaminedPhoto], classes: Sequence[str], judged: Collection[str]) -> list[Finding]:
    """Return the doctor's suspects of some classes or words."""
    found = [*doubted_classes(photos, classes), *doubted_words(photos, classes, groups_of(photos))]
    return [finding for finding in found if finding.kind != "not_checked" and finding.tag in judged]


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


def table(figures: dict[str, Any]) -> str:
    """Return precision at recall as a Markdown table."""
    rows = {
        "the classifier, its twenty classes": figures["classes"],
        "the classifier, the six": figures["words_by_classifier"],
        "the six as words, taught by the photos": figures["words_taught"],
    }
    heads = [*(f"{recall:.1f}" for recall in RECALLS), "all suspects", "of the tags as they are"]
    lines = [f"| precision at recall | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for title, row in rows.items():
        cells = ["-" if value is None else f"{value:.2f}" for value in row["precision_at_recall"].values()]
        every = f"{row['all_suspects']['precision']:.2f} at {row['all_suspects']['recall']:.2f}"
        lines.append(f"| {title} | {' | '.join(cells)} | {every} | {row['suspects_of_unspoilt_tags']} suspects |")
    said = (
        f"`{figures['model']}`; {figures['photos']} photos, {figures['tags']} tags, {figures['spoilt']:.0%} of them "
        f"spoilt in each of {figures['draws']} draws."
    )
    return "\n".join([*lines, "", said])


def beside_table(figures: dict[str, Any]) -> str:
    """Return how well unseen words are recognised as a Markdown table."""
    lines = ["| word | photos | recognised | checked |", "|---|---:|---:|---|"]
    for word, row in figures["words"].items():
        checked = "yes" if row["recognised"] >= figures["least"] else "no, and told so"
        lines.append(f"| {word} | {row['photos']} | {row['recognised']:.2f} | {checked} |")
    return "\n".join([*lines, "", f"`{figures['model']}`; {figures['photos']} photos."])


if __name__ == "__main__":
    main()
