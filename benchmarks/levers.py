"""What each lever of label making gives, alone, on one model: no lever is taken that was not measured.

    python -m benchmarks.levers --data ../shared/data --cache /tmp/tokens [--quick] [--model FOLDER] [--lever NAME]

Every lever changes one thing of `balanced` (tags gated, every pixel decided) and is judged by number of tags, with the
dense CRF; `--quick` takes one scale of 336 pixels and no CRF. The network's tokens are kept in a folder, so that a
lever costs no pass of the network. Figures go to `docs/levers_refined.json`, or if quick to `docs/levers.json`, tables
to docs/training.md; `--tables` writes them from the JSON as it stands.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import ROOT
from benchmarks.quality import ANIMALS, SETS
from benchmarks.tables import place_in_file
from toco.model.errors import TocoError
from toco.model.evaluation.breakdown import Breakdown, Rows
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.labelling.torch_maps import TorchMaps
from toco.model.learning.adjust import AdjustedLabeler, fit_adjustment, read_corrected
from toco.model.method.cams import normalise_cams
from toco.model.method.network import Classified
from toco.model.options import LabelOptions
from toco.model.photos.classes import VOC
from toco.model.photos.tables.reading import read_tags

FIGURES = {True: ROOT / "docs" / "levers.json", False: ROOT / "docs" / "levers_refined.json"}  # quick or not
TABLES = {True: "levers", False: "levers-refined"}
DOCUMENT = ROOT / "docs" / "training.md"

QUICK: dict[str, Any] = {"cam": {"size": 336, "scales": (1.0,)}, "refine": "none"}

# Settings of `balanced` that change; `combine` names a way to put CAMs and decoder together (see `LeverMaps`), and
# `adapt` has the model learn from its own labels first (see `adapted`).
LEVERS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "without lifting": {"cam": {"lift": None}},
    "lifted from 0.5": {"cam": {"lift": 0.5}},
    "CAMs alone": {"cam": {"decoder_weight": 0.0}},
    "decoder's share 0.15": {"cam": {"decoder_weight": 0.15}},
    "decoder's share 0.3": {"cam": {"decoder_weight": 0.3}},
    "decoder's share 0.5": {"cam": {"decoder_weight": 0.5}},
    "decoder alone": {"cam": {"decoder_weight": 1.0}},
    "softmax competition of the tagged CAMs": {"combine": "competition"},
    "CAM and decoder multiplied": {"combine": "product"},
    "tags that are doubted as the others": {"cam": {"doubted": None}},
    "the decoder alone for tags that are doubted": {"cam": {"doubted": {"decoder_weight": 1.0}}},
    "the decoder's belief in tags that are doubted as it is": {"cam": {"doubted": {"full_belief": 1.0}}},
    "doubted under 0.88": {"cam": {"doubted": {"under": 0.88}}},
    "background at 0.4": {"thresholds": {"plain": 0.4}},
    "background at 0.45": {"thresholds": {"plain": 0.45}},
    "background at 0.5": {"thresholds": {"plain": 0.5}},
    "adapted to the photos that are labelled": {"adapt": True},
    "without affinity": {"cam": {"affinity": None}},
    "affinity of one round": {"cam": {"affinity": {"power": 8.0, "rounds": 1}}},
    "affinity of power 16": {"cam": {"affinity": {"power": 16.0, "rounds": 2}}},
    "without CRF": {"refine": "none"},
    "CRF with wider colours": {"crf": {"bilateral_srgb": 5.0}},
    "CRF of half the weight": {"crf": {"bilateral_weight": 2.0, "gaussian_weight": 1.5}},
    "one scale": {"cam": {"scales": (1.0,)}},
    "scales 0.5 and 1.25": {"cam": {"scales": (0.5, 1.25)}},
    "scales 0.5, 1 and 1.5": {"cam": {"scales": (0.5, 1.0, 1.5)}},
}


class LeverMaps(TorchMaps):
    """Maps that put CAMs and decoder together in another way, of what the encoder gave and was kept."""

    def __init__(self, labeler: "LeverLabeler", options: LabelOptions) -> None:
        super().__init__(labeler.network_for(options), labeler.spec, labeler.device)
        self.cache, self.combine = labeler.cache, labeler.combine

    def _classify(self, images: Tensor) -> Classified:
        if self.cache is None:
            return super()._classify(images)
        key = hashlib.sha256(images.numpy().tobytes() + self.spec.weights_sha256.encode()).hexdigest()[:24]
        kept = self.cache / f"{key}.pt"
        if not kept.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            found = super()._classify(images)
            torch.save([value.bfloat16() for value in found], kept)
        return Classified(*torch.load(kept, weights_only=True))

    def _joined(self, summed_cams: Tensor, belief: Tensor, shares: Tensor) -> Tensor:
        if self.combine == "mean":
            return super()._joined(summed_cams, belief, shares)
        if self.combine == "competition":
            return normalise_cams(summed_cams * summed_cams.softmax(dim=1)).lerp(belief, shares)
        cams = normalise_cams(summed_cams).clamp_min(1e-4)
        return cams.pow(1.0 - shares) * belief.clamp_min(1e-4).pow(shares)


class LeverLabeler(Labeler):
    """A labeler that keeps what the encoder gave, and may put CAMs and decoder together in another way."""

    cache: Path | None = None
    combine = "mean"

    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:
        return LeverMaps(self, options)(jobs, self.spec.completed(options))


def samples_of(data: Path, key: str) -> list[Sample]:
    """Return the photos of a judged set, with their tags."""
    root = data / SETS[key][1]
    table = read_tags(root / "val.csv" if (root / "val.csv").exists() else root.parent / "val.csv")
    found = folder_dataset(root / "JPEGImages", root / "SegmentationClass", VOC).samples
    tags = [table.find(sample.image) for sample in found]
    return [replace(sample, tags=entry.tags if entry else ()) for sample, entry in zip(found, tags, strict=True)]


def adapted(labeler: Labeler, samples: Sequence[Sample], options: LabelOptions) -> Labeler:
    """Return a labeler whose own labels of the photos taught it as corrections would have (`model/learning/adjust`).

    A job of many photos is itself evidence: what one photo shows alone may be told from other things in the next.
    """
    requests = [LabelRequest(sample.image, sample.tags, sample.name) for sample in samples if sample.tags]
    taught = []
    for request, label in labeler.label(requests, options):
        if not isinstance(label, TocoError):
            taught.append(read_corrected(labeler, request, label.pseudo_mask, options))
    adjustment = fit_adjustment(
        [photo for photo in taught if photo is not None],
        classes=len(labeler.vocabulary),
        level=labeler.spec.thresholds.plain,
        model_version=labeler.spec.version,
    )
    return AdjustedLabeler(labeler, adjustment)


def judge(labeler: LeverLabeler, data: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a lever on both sets, by number of tags."""
    changes = dict(settings)
    adapt = changes.pop("adapt", False)
    labeler.combine = changes.pop("combine", "mean")
    refined = changes.pop("refine", "crf") == "crf"
    options = judged_options(labeler.spec.label_options("balanced", **changes), "pseudo_mask", crf=refined)
    figures: dict[str, Any] = {}
    for key in SETS:
        classes = ANIMALS.split(",") if key == "animals" else list(labeler.vocabulary.names)
        judged = labeler.vocabulary.subset(classes)
        breakdown = Breakdown(judged.names)

        def count(sample: Sample, truth: Rows, mask: Rows, parts: Breakdown = breakdown) -> None:
            parts.update(truth, mask, len(sample.tags or ()))

        samples = samples_of(data, key)
        evaluate(
            samples,
            predictor(adapted(labeler, samples, options) if adapt else labeler, options),
            truth_classes=VOC,
            model_classes=labeler.vocabulary,
            classes=judged.names,
            on_judged=count,
        )
        figures[key] = {name: group.model_dump() for name, group in breakdown.report().by_tags.items()}
    return figures


def table(file: Path) -> str:
    """Return the figures of a file as a Markdown table."""
    lines = [
        "| lever | VOC, one tag | VOC, several | VOC, all | COCO, one tag | COCO, several | COCO, all |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    figures = json.loads(file.read_text("utf-8"))
    for name, found in figures["levers"].items():
        cells = [found[key][group]["miou"] for key in SETS for group in ("one tag", "several tags", "all")]
        lines.append(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in cells)} |")
    how = "one scale of 336 pixels, no CRF" if figures["quick"] else "three scales, dense CRF"
    return "\n".join([*lines, "", f"`{figures['model']}`; {how}."])


def settings_of(name: str, *, quick: bool) -> dict[str, Any]:
    """Return what a lever changes."""
    if not quick:
        return LEVERS[name]
    return {**LEVERS[name], **QUICK, "cam": {**QUICK["cam"], **LEVERS[name].get("cam", {})}}


def shows_without_crf(name: str) -> bool:
    """Return whether a lever can be judged on one scale and without the CRF."""
    lever = LEVERS[name]
    return not ({"crf", "refine"} & lever.keys() or "scales" in lever.get("cam", {}))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals and coco-val")
    parser.add_argument("--model", type=Path, help="folder of the model; the default one if it is not given")
    parser.add_argument("--cache", type=Path, help="folder to keep tokens in")
    parser.add_argument("--lever", action="append", choices=tuple(LEVERS), help="only these")
    parser.add_argument("--quick", action="store_true", help="one scale and no CRF")
    parser.add_argument("--out", type=Path, help="write the figures here, and no table")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    arguments = parser.parse_args()
    out: Path = arguments.out or FIGURES[arguments.quick]
    if not arguments.tables:
        if arguments.data is None:
            parser.error("--data is needed to measure")
        labeler = LeverLabeler.from_folder(arguments.model)
        if not isinstance(labeler, LeverLabeler):
            parser.error("the model folder cannot be used")
        labeler.cache = arguments.cache
        kept: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.exists() else {}
        asked = labeler.spec.completed(labeler.spec.label_options("balanced")).digest()
        figures: dict[str, Any] = {"model": labeler.spec.version, "options": asked, "quick": arguments.quick}
        same = figures.items() <= kept.items()  # figures of one model with one set of options, taken in one way
        figures["levers"] = kept["levers"] if same else {}
        possible = [name for name in LEVERS if not arguments.quick or shows_without_crf(name)]
        for name in arguments.lever or possible:
            found = figures["levers"][name] = judge(labeler, arguments.data, settings_of(name, quick=arguments.quick))
            out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
            print(name, {key: {group: round(v["miou"], 3) for group, v in f.items()} for key, f in found.items()})
    if arguments.out is None:
        place_in_file(DOCUMENT, {TABLES[quick]: table(file) for quick, file in FIGURES.items() if file.exists()})


if __name__ == "__main__":
    main()
