"""End-to-end speed of labelling against the published recipe, on the same photos and weights.

    python -m benchmarks.label --json label.json

The published recipe here: float32; one photo after the other through the network, straight and mirrored at every scale;
CAMs of all classes; then, on a pool of one process a core, the dense CRF by pydensecrf over background and *all*
classes, twice for the pseudo mask and once for the segmentation map. The presets run as `toco label` runs them. Two
ratios are given: against the whole recipe, and against those parts of it that make the same outputs (`fast` and
`balanced` make no segmentation map). Everything is measured in one process, in turn, for some rounds; ratios are
medians of paired rounds.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import ROOT, provenance
from benchmarks.quality import ANIMALS, SETS
from toco.model.crf.pydensecrf_backend import PydensecrfBackend
from toco.model.crf.settings import SEGMENTATION_CRF
from toco.model.errors import TocoError
from toco.model.evaluation.datasets.catalogue import mask_classes
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import Predict, Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.folder_run import FolderRun, RunSummary
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.plan import PlannedPhoto, plan_photos
from toco.model.method.cams import gate, multi_scale_cams, resize
from toco.model.method.network import normalise_images
from toco.model.method.pseudo_mask import crf_pseudo_mask
from toco.model.method.segmentation import multi_scale_logits
from toco.model.options import PRESETS, PresetName, Thresholds, preset_options
from toco.model.photos.assignment import PlacedTable, assign
from toco.model.photos.collection import read_folder
from toco.model.photos.images import read_image
from toco.model.photos.tables.reading import read_table

SAMPLES = ROOT / "samples"
CAM_SIDE = 448

Mask = NDArray[np.uint8]


def _published_pseudo_mask(
    task: tuple[Mask, NDArray[np.float32]], *, indices: Sequence[int], thresholds: Thresholds, ignore_band: bool = True
) -> Mask:
    """Both CRFs over all classes of one photo; runs in a process of the pool."""
    image, cams = task
    return crf_pseudo_mask(
        image, cams, indices, backend=PydensecrfBackend(), thresholds=thresholds, ignore_band=ignore_band
    )


def _published_segmentation(task: tuple[Mask, NDArray[np.float32]]) -> Mask:
    image, probabilities = task
    marginals = PydensecrfBackend().infer(probabilities, image, SEGMENTATION_CRF)
    return np.asarray(marginals.argmax(0), np.uint8)


class PublishedRecipe:
    """The recipe of the paper with its published cost structure.

    Args:
        labeler: whose weights are used.
    """

    def __init__(self, labeler: Labeler) -> None:
        self.network = labeler.network_for(preset_options("paper", precision="float32"))
        self.spec = labeler.spec
        self.vocabulary = labeler.vocabulary

    def run(self, photos: Sequence[PlannedPhoto]) -> tuple[dict[str, float], list[Mask]]:
        """Label photos.

        Returns:
            Seconds of each stage, and the pseudo masks (indices of the vocabulary, 255 ignored).
        """
        cams, decoded = [], []
        seconds = {}
        started = time.perf_counter()
        images = [read_image(photo.path).pixels for photo in photos]
        with torch.inference_mode():
            for photo, image in zip(photos, images, strict=True):
                cams.append((image, self._cams(photo.tags or (), image)))
            seconds["network, CAM"] = time.perf_counter() - started
            started = time.perf_counter()
            for image in images:
                decoded.append((image, self._probabilities(image)))  # noqa: PERF401 - the loop is what is timed
            seconds["network, segmentation"] = time.perf_counter() - started
        with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("forkserver")) as pool:
            list(pool.map(_published_segmentation, [(image[:8, :8], maps[:, :8, :8]) for image, maps in decoded]))
            started = time.perf_counter()
            refine = partial(_published_pseudo_mask, indices=self.vocabulary.indices, thresholds=self.spec.thresholds)
            masks = list(pool.map(refine, cams))
            seconds["CRF, pseudo mask"] = time.perf_counter() - started
            started = time.perf_counter()
            list(pool.map(_published_segmentation, decoded))
            seconds["CRF, segmentation"] = time.perf_counter() - started
        return seconds, masks

    @torch.inference_mode()
    def predict(
        self, samples: Iterable[tuple[Sample, tuple[str, ...] | None]]
    ) -> Iterator[NDArray[np.uint8] | TocoError]:
        """Give the method's own masks of samples, every pixel decided; what `evaluate` takes.

        Float32 and pydensecrf, as published; absent classes are dropped before the CRF, as the method has it.
        """
        for sample, tags in samples:
            image = read_image(sample.image).pixels
            channels = list(self.vocabulary.split_known(tags or ())[0])
            yield _published_pseudo_mask(
                (image, self._cams(tags or (), image)[channels]),
                indices=[self.vocabulary.indices[channel] for channel in channels],
                thresholds=self.spec.thresholds,
                ignore_band=False,
            )

    def _input(self, image: Mask) -> torch.Tensor:
        return normalise_images(torch.from_numpy(image).permute(2, 0, 1)[None], self.spec.mean, self.spec.std)

    def _cams(self, names: Sequence[str], image: Mask) -> NDArray[np.float32]:
        """CAMs (C, H, W) of all classes, those of absent ones zero; the auxiliary ones are made as well."""
        tags = torch.zeros(1, len(self.vocabulary))
        tags[0, list(self.vocabulary.split_known(names)[0])] = 1.0
        shown = resize(self._input(image), (CAM_SIDE, CAM_SIDE))
        cam, _ = multi_scale_cams(lambda batch: self.network(batch)[0][2:4], shown)
        full = resize(gate(cam, tags), image.shape[:2])[0].numpy()
        return np.asarray(full, np.float32)

    def _probabilities(self, image: Mask) -> NDArray[np.float32]:
        logits = multi_scale_logits(lambda batch: self.network(batch)[1], self._input(image))
        return np.asarray(logits[0].softmax(0).numpy(), np.float32)


def run_preset(labeler: Labeler, preset: PresetName, photos: Sequence[PlannedPhoto]) -> tuple[float, list[Mask]]:
    """Label photos as `toco label` does, masks written to disk; return seconds and pseudo masks."""
    options = preset_options(preset)
    with tempfile.TemporaryDirectory() as folder:
        run = FolderRun(labeler, options, Path(folder), outputs=frozenset({"pseudo_mask", "segmentation"}))
        started = time.perf_counter()
        run.label(photos, RunSummary())
        seconds = time.perf_counter() - started
    requests = [LabelRequest(photo.path, photo.tags, photo.name) for photo in photos]
    masks = [cast("Any", label).pseudo_mask for _, label in labeler.label(requests, options)]
    return seconds, masks


def measure(photos: Sequence[PlannedPhoto], rounds: int, model: Path | None = None) -> dict[str, Any]:
    """Measure the recipe and every preset on the same photos.

    Returns:
        `published` (median seconds a photo by stage), and by preset seconds a photo, photos a second, both ratios, and
        the share of pixels with the recipe's label.
    """
    labeler = Labeler.from_folder(model, device="cpu")
    recipe = PublishedRecipe(labeler)
    for preset in PRESETS:
        run_preset(labeler, preset, photos[:1])  # warm
    stages: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {preset: [] for preset in PRESETS}
    whole: dict[str, list[float]] = {preset: [] for preset in PRESETS}
    alike: dict[str, list[float]] = {preset: [] for preset in PRESETS}
    agreement: dict[str, float] = {}
    for _ in range(rounds):
        spent, truth = recipe.run(photos)
        for stage, value in spent.items():
            stages.setdefault(stage, []).append(value / len(photos))
        for preset in PRESETS:
            took, masks = run_preset(labeler, preset, photos)
            like = sum(value for stage, value in spent.items() if PRESETS[preset].segmentation or "segm" not in stage)
            seconds[preset].append(took / len(photos))
            alike[preset].append(like / took)
            whole[preset].append(sum(spent.values()) / took)
            agreement[preset] = _agreement(truth, masks)
    return {
        "photos": len(photos),
        "rounds": rounds,
        "published": {stage: median(values) for stage, values in stages.items()},
        "presets": {
            preset: {
                "seconds_a_photo": median(seconds[preset]),
                "photos_a_second": 1 / median(seconds[preset]),
                "ratio": median(whole[preset]),
                "ratio_of_like_parts": median(alike[preset]),
                "equal_pixels": agreement[preset],
            }
            for preset in PRESETS
        },
    }


def quality(data: Path, every: int) -> dict[str, Any]:
    """Judge the masks of the method in float32 and of the presets (refined, tags gated, every pixel decided).

    Args:
        data: folder with `voc12-animals/val`; judged on the six animals, as the model card does.
        every: take every n-th photo.
    """
    labeler = Labeler.from_folder(device="cpu")
    folder = data / SETS["animals"][1]
    found = folder_dataset(folder / "JPEGImages", folder / "SegmentationClass", mask_classes("voc"))
    samples = found.samples[::every]
    options = {preset: judged_options(preset_options(preset), "pseudo_mask") for preset in PRESETS}
    ways: dict[str, Predict] = {"the method, float32 and pydensecrf": PublishedRecipe(labeler).predict}
    ways |= {preset: predictor(labeler, chosen) for preset, chosen in options.items()}
    miou = {}
    for name, predict in ways.items():
        report = evaluate(
            samples,
            predict,
            truth_classes=found.classes,
            model_classes=labeler.vocabulary,
            classes=ANIMALS.split(","),
        )
        miou[name] = report.miou
    return {"photos": len(samples), "miou": miou}


def _agreement(truth: Sequence[Mask], masks: Sequence[Mask]) -> float:
    equal = sum(int((one == other).sum()) for one, other in zip(truth, masks, strict=True))
    return equal / sum(one.size for one in truth)


def memory(counts: Sequence[int], photo: Path) -> list[dict[str, float]]:
    """Return the peak resident memory, MiB, of processes that label so many copies of a photo with `fast`."""
    rows = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.label", "--memory-of", str(count), "--photos", str(photo.parent)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        rows.append({"images": count, "peak_mib": float(found.splitlines()[-1])})
    return rows


def _label_many(count: int, photo: PlannedPhoto) -> float:
    """Label one photo many times in this process and return its peak resident memory in MiB."""
    labeler = Labeler.from_folder(device="cpu")
    copies = [PlannedPhoto(f"{index}.jpg", photo.path, photo.tags) for index in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        options = preset_options("fast", cam={"size": 112}, refine="none", long_side=160)
        FolderRun(labeler, options, Path(folder), outputs=frozenset({"pseudo_mask"})).label(copies, RunSummary())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def markdown(result: dict[str, Any]) -> str:
    """The result of `measure` as Markdown."""
    lines = ["| preset | photos a second | s a photo | times the recipe | times its like parts | equal pixels |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {row['photos_a_second']:.2f} | {row['seconds_a_photo']:.2f} "
        f"| {row['ratio']:.1f} | {row['ratio_of_like_parts']:.1f} | {100 * row['equal_pixels']:.1f} % |"
        for name, row in result["presets"].items()
    ]
    lines += ["", f"| published recipe, stage | s a photo ({result['photos']} photos) |", "|---|---|"]
    lines += [f"| {stage} | {value:.2f} |" for stage, value in result["published"].items()]
    if found := result.get("quality"):
        lines += [
            "",
            f"| masks of | mIoU, {found['photos']} photos of the animal subset of VOC 2012 val |",
            "|---|---|",
        ]
        lines += [f"| {name} | {100 * value:.2f} |" for name, value in found["miou"].items()]
    if result.get("memory"):
        lines += ["", "| images | peak resident memory, MiB |", "|---|---|"]
        lines += [f"| {row['images']:,} | {row['peak_mib']:.0f} |" for row in result["memory"]]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--photos", type=Path, default=SAMPLES, help="folder of photos")
    parser.add_argument("--tags", type=Path, help="their tags; default: tags.csv beside them")
    parser.add_argument("--limit", type=int, help="only the first photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals: judge the masks as well")
    parser.add_argument("--every", type=int, default=1, help="judge every n-th photo")
    parser.add_argument("--memory", type=int, action="append", help="peak memory of labelling so many images")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    table = read_table(arguments.tags or arguments.photos / "tags.csv")
    collection = read_folder(arguments.photos)
    assignment = assign(collection.photos, [PlacedTable("", table)])
    photos = plan_photos(arguments.photos, collection, assignment, untagged="skip").photos[: arguments.limit]
    if arguments.memory_of:
        print(_label_many(arguments.memory_of, photos[0]))
        return
    result = {**provenance(), **measure(photos, arguments.rounds)}
    result["memory"] = memory(arguments.memory or (), photos[0].path)
    if arguments.data:
        result["quality"] = quality(arguments.data, arguments.every)
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
