"""Proof: a segmentation network trained on our labels against the same one trained on true masks of the same photos.

    python -m benchmarks.student --data ../shared/data --work student

The photos with true masks (VOC 2012 val, animal subset, and the COCO subset; the default model was trained on none) are
halved as an export halves them: stratified by tags, photos that look alike together, several seeds. The student sees
the one half and is judged on the other, without tags. Only what it learns from differs: true masks; labels of
`toco label` from tags, doubtful pixels open (255, they count for nothing) or all decided; labels made without tags.

The student is a small convolutional head on the frozen encoder of the default model, which tags of other photos shaped:
there are no weights of a student's own to be had offline. What is done already is kept in the JSON.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from benchmarks.machine import ROOT, provenance
from benchmarks.quality import SETS
from benchmarks.tables import place_in_file
from toco.model.errors import TocoError
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.formats.splits import ListedPhoto, split_photos
from toco.model.labelling.labeler import Labeler
from toco.model.method.cams import resize
from toco.model.method.network import normalise_images
from toco.model.photos.classes import IGNORE, VOC
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import probe_image, read_image, read_mask
from toco.model.photos.tables.reading import read_tags
from toco.model.spec import DEFAULT_MODEL, read_spec

Mask = npt.NDArray[np.uint8]

FIGURES: Final = ROOT / "docs" / "student.json"
DOCUMENT: Final = ROOT / "docs" / "guides" / "ml-engineer.md"
SIDE, GRID, WIDTH = 448, 32, 384
TARGET: Final = 64  # side of the masks that the student learns from
EPOCHS, BATCH, RATE, DECAY, HIDDEN = 30, 8, 2e-3, 1e-2, 64
PRESET: Final = "balanced"

LABELS: Final[dict[str, tuple[str, ...]]] = {
    "open": (),
    "decided": ("--set", "ignore_band=false"),
    "untagged": ("--untagged", "model"),
}
"""How the labels of an export are made, beside the tags."""

ARMS: Final = {
    "truth": "true masks",
    "open": "labels from tags, doubtful pixels open",
    "decided": "labels from tags, all pixels decided",
    "untagged": "labels without tags",
}
MADE: Final = {"decided": "the labels themselves, tags of each photo given", "untagged": "likewise, without tags"}
"""Labels of the photos that the students are judged on: no student has any part in them."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that students learn from or are judged on.

    Attributes:
        key: unique, and the name of what is kept of it.
        group: key of `SETS`.
        tags: class names.
        sample: with its true mask.
    """

    key: str
    group: str
    tags: tuple[str, ...]
    sample: Sample


def read_photos(data: Path) -> list[Photo]:
    """Return all photos that have true masks."""
    photos = []
    for group, (_, folder, _) in SETS.items():
        root = data / folder
        table = read_tags(_table(root))
        photos += [
            Photo(f"{group}-{sample.name}", group, tuple(table[sample.image.name].tags), sample)
            for sample in folder_dataset(root / "JPEGImages", root / "SegmentationClass", VOC).samples
        ]
    return photos


def _table(root: Path) -> Path:
    return root / "val.csv" if (root / "val.csv").exists() else root.parent / "val.csv"


def export_labels(data: Path, kind: str, work: Path) -> None:
    """Run `toco label` on all photos, unless that is done; a second run goes on where the first stopped."""
    for group, (_, folder, _) in SETS.items():
        if exported(work, kind, group).exists():
            continue
        out = exported(work, kind, group).parent
        command = [sys.executable, "-m", "toco", "label", str(data / folder / "JPEGImages"), "--out", str(out)]
        command += [] if kind == "untagged" else ["--tags", str(_table(data / folder))]
        command += ["--preset", PRESET, "--format", "voc", "--outputs", "pseudo_mask", *LABELS[kind]]
        subprocess.run(command, check=True)


def exported(work: Path, kind: str, group: str) -> Path:
    """Return the `voc` export of labels."""
    return work / "labels" / kind / group / "voc"


def label_of(work: Path, kind: str, photo: Photo) -> Mask:
    """Return a photo's mask as it is exported; a photo that the export leaves out is open all over."""
    path = exported(work, kind, photo.group) / "SegmentationClass" / f"{photo.sample.image.stem}.png"
    if path.exists():
        return read_mask(path)
    header = probe_image(photo.sample.image)
    return np.full((header.height, header.width), IGNORE, np.uint8)


def keep_tokens(photos: Sequence[Photo], folder: Path) -> None:
    """Run the default model's encoder on photos, and keep (WIDTH, GRID, GRID) float16 of each."""
    folder.mkdir(parents=True, exist_ok=True)
    left = [photo for photo in photos if not (folder / f"{photo.key}.npy").exists()]
    if not left:
        return
    labeler = Labeler.from_folder(device="cpu", runtime="torch")
    spec, kind = labeler.spec, labeler.device.dtype
    for photo in left:
        pixels = torch.from_numpy(read_image(photo.sample.image, long_side=2 * SIDE).pixels).permute(2, 0, 1)[None]
        square = resize(normalise_images(pixels, spec.mean, spec.std), (SIDE, SIDE))
        with torch.inference_mode(), torch.autocast("cpu", dtype=kind, enabled=kind is not None):
            np.save(folder / f"{photo.key}.npy", labeler.network.encoder(square).patches[0].half().numpy())


class Lessons(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Tokens and masks to learn from, mirrored by chance.

    Args:
        tokens: (WIDTH, GRID, GRID) float16 of each photo.
        masks: (TARGET, TARGET) uint8 VOC indices of each, 255 open.
    """

    def __init__(self, tokens: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        self.tokens, self.masks = tokens, masks

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.tokens)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        """Return (WIDTH, GRID, GRID) float32 tokens and the (TARGET, TARGET) int64 mask."""
        tokens, mask = self.tokens[at].float(), self.masks[at].long()
        return (tokens.flip(2), mask.flip(1)) if torch.rand(()) < 0.5 else (tokens, mask)


def train_student(lessons: Lessons, seed: int) -> nn.Module:
    """Train a head: (b, WIDTH, GRID, GRID) tokens to (b, 21, GRID, GRID) logits of background and VOC's classes."""
    torch.manual_seed(seed)
    head = nn.Sequential(
        nn.Conv2d(WIDTH, HIDDEN, 1), nn.GELU(), nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), nn.GELU(), nn.Dropout2d(0.1),
        nn.Conv2d(HIDDEN, 1 + len(VOC), 1),
    )  # fmt: skip
    batches = torch.utils.data.DataLoader(lessons, BATCH, shuffle=True, drop_last=True)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * len(batches))
    for _ in range(EPOCHS):
        for tokens, masks in batches:
            logits = interpolate(head(tokens), (TARGET, TARGET), mode="bilinear")
            decided = max(1, int((masks != IGNORE).sum()))
            loss = cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum") / decided
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimiser.step()
            schedule.step()
    return head.eval()


class Benchmark:
    """Photos, labels and figures.

    Args:
        data: folder of the sets.
        work: folder for labels and tokens.
    """

    def __init__(self, data: Path, work: Path) -> None:
        self.work, self.photos = work, read_photos(data)
        self.tokens = work / "tokens"
        for kind in LABELS:
            export_labels(data, kind, work)
        keep_tokens(self.photos, self.tokens)
        self._listed = [
            ListedPhoto(
                photo.key,
                frozenset(photo.tags),
                fingerprint(read_image(photo.sample.image, long_side=SIDE).pixels),
            )
            for photo in self.photos
        ]

    def halves(self, seed: int) -> tuple[list[Photo], list[Photo]]:
        """Return the photos to learn from and those to be judged on; each set is halved by itself."""
        parts: dict[str, str] = {}
        for group in SETS:
            listed = [photo for photo in self._listed if photo.name.startswith(f"{group}-")]
            parts |= split_photos(listed, "50/50", seed=seed).parts
        lessons, test = ([photo for photo in self.photos if parts[photo.key] == part] for part in ("train", "val"))
        return lessons, test

    def run(self, arm: str, seed: int) -> dict[str, float]:
        """Train a student and return its mIoU by set."""
        photos, test = self.halves(seed)
        tokens, masks = [], []
        for photo in photos:
            mask = photo.sample.read_truth() if arm == "truth" else label_of(self.work, arm, photo)
            tokens.append(torch.from_numpy(np.load(self.tokens / f"{photo.key}.npy")))
            small = Image.fromarray(mask).resize((TARGET, TARGET), Image.Resampling.NEAREST)
            masks.append(torch.from_numpy(np.array(small)))
        student = train_student(Lessons(tokens, masks), seed)

        @torch.inference_mode()
        def predict(photo: Photo) -> Mask:
            logits = student(torch.from_numpy(np.load(self.tokens / f"{photo.key}.npy"))[None].float())
            header = probe_image(photo.sample.image)
            return (
                interpolate(logits, (header.height, header.width), mode="bilinear")[0].argmax(0).to(torch.uint8).numpy()
            )

        return judge(test, predict)

    def judge_labels(self, kind: str, seed: int) -> dict[str, float]:
        """Return the mIoU of the labels of the photos that students are judged on, by set."""
        return judge(self.halves(seed)[1], lambda photo: label_of(self.work, kind, photo))


def judge(photos: Sequence[Photo], mask_of: Callable[[Photo], Mask]) -> dict[str, float]:
    """Return the mIoU of masks by set: the classes of the model card, all other pixels background."""
    found: dict[str, float] = {}
    for group, (_, _, classes) in SETS.items():
        by_name = {photo.sample.name: photo for photo in photos if photo.group == group}

        def predict(
            asked: Iterable[tuple[Sample, tuple[str, ...] | None]], by_name: dict[str, Photo] = by_name
        ) -> Iterator[Mask | TocoError]:
            yield from (mask_of(by_name[sample.name]) for sample, _ in asked)

        samples = [photo.sample for photo in by_name.values()]
        chosen = classes.split(",") if classes else None
        report = evaluate(samples, predict, truth_classes=VOC, model_classes=VOC, classes=chosen, gate=False)
        found[group] = report.miou or 0.0
    return found


def measure(benchmark: Benchmark, seeds: int) -> None:
    """Measure what is not in the JSON yet, and write it after each run."""
    settings = {
        "model": read_spec(DEFAULT_MODEL).version, "preset": PRESET, "epochs": EPOCHS, "batch": BATCH, "rate": RATE,
        "decay": DECAY, "hidden": HIDDEN, "target": TARGET,
    }  # fmt: skip
    figures: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    if figures.get("settings") != settings:
        figures = {"settings": settings, "photos": {}, "labels": {}, "students": {}}

    def note(part: str, key: str, value: dict[str, Any]) -> None:
        figures[part][key] = value
        figures["machine"] = provenance()
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        print(part, key, value, flush=True)

    for seed in range(seeds):
        lessons, judged = ({g: sum(p.group == g for p in part) for g in SETS} for part in benchmark.halves(seed))
        note("photos", str(seed), {"learnt": lessons, "judged": judged})
        for kind in MADE:
            if f"{kind} {seed}" not in figures["labels"]:
                note("labels", f"{kind} {seed}", benchmark.judge_labels(kind, seed))
    for arm in ARMS:
        for seed in range(seeds):
            if f"{arm} {seed}" not in figures["students"]:
                note("students", f"{arm} {seed}", benchmark.run(arm, seed))


def table() -> str:
    """Return the figures as Markdown: mean and standard deviation over the halvings, and the share of true masks'."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    seeds = len(figures["photos"])

    def values(part: str, key: str, group: str) -> npt.NDArray[np.float64]:
        return np.array([figures[part][f"{key} {seed}"][group] for seed in range(seeds)])

    def cells(part: str, key: str) -> str:
        found = []
        for group in SETS:
            miou = values(part, key, group)
            share = miou / values("students", "truth", group)
            found += [f"{100 * miou.mean():.1f} ± {100 * miou.std(ddof=1):.1f}", f"{100 * share.mean():.0f} %"]
        return " | ".join(found)

    lines = ["| | " + " | ".join(f"{SETS[group][0]} | share" for group in SETS) + " |"]
    lines.append("|---|" + "---:|---:|" * len(SETS))
    whole = [arm for arm in ARMS if all(f"{arm} {seed}" in figures["students"] for seed in range(seeds))]
    lines += [f"| a student of {ARMS[arm]} | {cells('students', arm)} |" for arm in whole]
    lines += [f"| *no student:* {said} | {cells('labels', kind)} |" for kind, said in MADE.items()]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals and coco-val")
    parser.add_argument("--work", type=Path, default=Path("student"), help="folder for labels and tokens")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", action="store_true", help="write the table only")
    asked = parser.parse_args()
    if not asked.tables:
        if asked.data is None:
            parser.error("--data is needed to measure")
        measure(Benchmark(asked.data, asked.work), asked.seeds)
    place_in_file(DOCUMENT, {"student": table()})


if __name__ == "__main__":
    main()
