"""Make `kinds.tsv` from WordNet's nouns: the words that are kinds of the VOC and COCO classes, or may be.

    apt-get download wordnet-base && dpkg-deb -x wordnet-base*.deb wordnet
    python -m toco.model.photos.wordnet.make_kinds wordnet/usr/share/wordnet

A line holds classes with `|` between, a tab, and folded words (see `classes.fold`). A word of one class is a kind of
it. `?` among the classes says that the word also means something else that a photo can show (a boxer is a dog and a
person; a crane is a bird and a machine). Senses that no photo can show (the kitty of a card game) do not count, unless
one of them is the word's most frequent (beauty, football): such a word is left out. So is one that may be a person
among other things, if no corpus has it (mug).

References:
    wndb(5WN): the layout of `data.noun` and `index.noun`; lexnames(5WN): the files of the lexicographers.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from toco.model.photos.classes import fold

Meanings = tuple[tuple[str, int], ...]
"""WordNet's lemmas with the number of a sense."""

OTHER: Final = "?"
TABLE: Final = Path(__file__).parent / "kinds.tsv"

# Meanings of each class, which are named as in COCO.
CLASSES: Final[dict[str, Meanings]] = {
    "person": (("person", 1),),
    "bicycle": (("bicycle", 1),),
    "car": (("car", 1),),
    "motorcycle": (("motorcycle", 1),),
    "airplane": (("airplane", 1),),
    "bus": (("bus", 1),),
    "train": (("train", 1),),
    "truck": (("truck", 1),),
    "boat": (("boat", 1), ("ship", 1), ("sailing_vessel", 1)),
    "traffic light": (("traffic_light", 1),),
    "fire hydrant": (("fire_hydrant", 1),),
    "parking meter": (("parking_meter", 1),),
    "bench": (("bench", 1),),
    "bird": (("bird", 1),),
    "cat": (("domestic_cat", 1), ("kitten", 1)),
    "dog": (("dog", 1),),
    "horse": (("horse", 1), ("foal", 1)),
    "sheep": (("sheep", 1), ("lamb", 1)),
    "cow": (("cattle", 1), ("calf", 1)),
    "elephant": (("elephant", 1),),
    "bear": (("bear", 1),),
    "zebra": (("zebra", 1),),
    "giraffe": (("giraffe", 1),),
    "backpack": (("backpack", 1),),
    "umbrella": (("umbrella", 1),),
    "handbag": (("handbag", 1),),
    "tie": (("tie", 1),),
    "suitcase": (("suitcase", 1),),
    "frisbee": (("frisbee", 1),),
    "skis": (("ski", 1),),
    "snowboard": (("snowboard", 1),),
    "sports ball": (("ball", 1),),
    "kite": (("kite", 3),),
    "baseball bat": (("baseball_bat", 1),),
    "baseball glove": (("baseball_glove", 1),),
    "skateboard": (("skateboard", 1),),
    "surfboard": (("surfboard", 1),),
    "tennis racket": (("tennis_racket", 1),),
    "bottle": (("bottle", 1),),
    "wine glass": (("wineglass", 1),),
    "cup": (("cup", 1),),
    "fork": (("fork", 1),),
    "knife": (("knife", 1),),
    "spoon": (("spoon", 1),),
    "bowl": (("bowl", 3),),
    "banana": (("banana", 2), ("edible_banana", 1)),
    "apple": (("apple", 1),),
    "sandwich": (("sandwich", 1),),
    "orange": (("orange", 1),),
    "broccoli": (("broccoli", 2), ("broccoli", 1)),
    "carrot": (("carrot", 3), ("carrot", 1)),
    "hot dog": (("hotdog", 2), ("hotdog", 3)),
    "pizza": (("pizza", 1),),
    "donut": (("donut", 1),),
    "cake": (("cake", 3),),
    "chair": (("chair", 1),),
    "couch": (("sofa", 1),),
    "potted plant": (("houseplant", 1), ("pot_plant", 1)),
    "bed": (("bed", 1),),
    "dining table": (("dining_table", 1),),
    "toilet": (("toilet", 2),),
    "tv": (("television_receiver", 1), ("computer_monitor", 1), ("television_monitor", 1)),
    "laptop": (("laptop", 1),),
    "mouse": (("mouse", 4),),
    "remote": (("remote_control", 1),),
    "keyboard": (("computer_keyboard", 1),),
    "cell phone": (("cellular_telephone", 1),),
    "microwave": (("microwave", 2),),
    "oven": (("oven", 1),),
    "toaster": (("toaster", 2),),
    "sink": (("sink", 1),),
    "refrigerator": (("refrigerator", 1),),
    "book": (("book", 2),),
    "clock": (("clock", 1),),
    "vase": (("vase", 1),),
    "scissors": (("scissors", 1),),
    "teddy bear": (("teddy", 1),),
    "hair drier": (("hair_drier", 1),),
    "toothbrush": (("toothbrush", 1),),
}

# Under a class in WordNet, but not what its annotators drew: with all that is under them.
NOT_KINDS: Final[Meanings] = (
    ("van", 5),
    ("tractor", 2),
    ("okapi", 1),
    ("jug", 1),
    ("gourd", 2),
    ("cruet", 1),
    ("water_ski", 1),
    ("toilet_seat", 1),
    ("dutch_oven", 2),
    ("couch", 3),
)
# Lexicographers' files of what a photo can show: animal, artifact, body, food, object, person, plant, substance.
_SHOWN_FILES: Final = frozenset({5, 6, 8, 13, 17, 18, 20, 27})
# Words that nobody should find in a table of ours; their glosses say what they are.
_INSULT: Final = re.compile(r"offensive|disparag|derogat|slur|contempt|vulgar|obscene|insult", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning.

    Attributes:
        file: number of the lexicographers' file.
        kinds: synsets right under it.
        insult: its gloss calls it one.
        instance: it names a single being or thing (Farmer, James Leonard).
    """

    file: int
    kinds: tuple[str, ...]
    insult: bool
    instance: bool


Senses = tuple[tuple[str, ...], bool]
"""Synsets of a lemma, and whether they are ordered by how often a corpus has them."""


def main() -> None:
    """Write the table from the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    synsets = dict(_read_synsets(folder / "data.noun"))
    senses = dict(_read_senses(folder / "index.noun"))
    TABLE.write_text("".join(f"{line}\n" for line in table_lines(synsets, senses)), encoding="utf-8")


def table_lines(
    synsets: Mapping[str, Synset],
    senses: Mapping[str, Senses],
    classes: Mapping[str, Meanings] = MappingProxyType(CLASSES),
    left_out: Meanings = NOT_KINDS,
) -> Iterator[str]:
    """Yield the lines of the table, sorted.

    Args:
        synsets: by offset.
        senses: by lemma.
        classes: meanings of each class.
        left_out: meanings that are no kinds of a class, with all under them.
    """
    class_of = _classes_of_synsets(synsets, senses, classes, left_out)
    words: dict[str, set[str]] = {}
    for lemma, (offsets, ranked) in senses.items():
        if ranked and offsets[0] not in class_of:
            continue
        found = {
            class_of.get(offset, OTHER)
            for offset in offsets
            if not synsets[offset].insult
            and (offset in class_of or (synsets[offset].file in _SHOWN_FILES and not synsets[offset].instance))
        }
        if OTHER in found and not ranked:
            found.discard("person")
        if found - {OTHER}:
            words.setdefault(fold(lemma), set()).update(found)
    by_classes: dict[str, list[str]] = {}
    for word, found in words.items():
        by_classes.setdefault("|".join(sorted(found)), []).append(word)
    for names, kinds in sorted(by_classes.items()):
        for part in textwrap.wrap(" ".join(sorted(kinds)), 110, break_long_words=False, break_on_hyphens=False):
            yield f"{names}\t{part}"


def _classes_of_synsets(
    synsets: Mapping[str, Synset], senses: Mapping[str, Senses], classes: Mapping[str, Meanings], left_out: Meanings
) -> dict[str, str]:
    """Return the class of each synset that is a kind of one; the nearest class above it wins."""
    roots = {senses[lemma][0][sense - 1]: name for name, meanings in classes.items() for lemma, sense in meanings}
    passed_over = {senses[lemma][0][sense - 1] for lemma, sense in left_out}
    class_of: dict[str, str] = {}
    for root, name in roots.items():
        waiting = [root]
        while waiting:
            offset = waiting.pop()
            if offset in class_of or offset in passed_over or synsets[offset].instance:
                continue
            class_of[offset] = name
            waiting += [kind for kind in synsets[offset].kinds if kind not in roots]
    return class_of


def _read_synsets(path: Path) -> Iterator[tuple[str, Synset]]:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split()
        count = int(parts[3], 16)
        start = 5 + 2 * count
        pointers = [parts[at : at + 4] for at in range(start, start + 4 * int(parts[start - 1]), 4)]
        yield (
            parts[0],
            Synset(
                file=int(parts[1]),
                kinds=tuple(target for symbol, target, *_ in pointers if symbol == "~"),
                insult=bool(_INSULT.search(gloss.partition('"')[0])),
                instance=any(symbol == "@i" for symbol, *_ in pointers),
            ),
        )


def _read_senses(path: Path) -> Iterator[tuple[str, Senses]]:
    for line in path.read_text(encoding="ascii").splitlines():
        if not line.startswith("  "):
            lemma, _, count, *rest = line.split()
            offsets = tuple(rest[-int(count) :])
            yield lemma, (offsets, int(rest[-int(count) - 1]) > 0)


if __name__ == "__main__":
    main()
