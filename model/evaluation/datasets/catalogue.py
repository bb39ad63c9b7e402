"""The benchmarks by name, and the vocabularies that masks may be written in."""

from collections.abc import Callable
from pathlib import Path

from toco.model.errors import InvalidOption
from toco.model.evaluation.datasets.ade20k import ADE20K, open_ade20k
from toco.model.evaluation.datasets.cityscapes import CITYSCAPES, open_cityscapes
from toco.model.evaluation.datasets.coco import open_coco2014
from toco.model.evaluation.datasets.dataset import BenchmarkDataset
from toco.model.evaluation.datasets.pascal_context import PASCAL_CONTEXT, open_context59, open_context60
from toco.model.evaluation.datasets.voc import open_voc2012
from toco.model.photos.classes import COCO, VOC, Vocabulary, fold

BENCHMARKS: dict[str, Callable[[Path, str], BenchmarkDataset]] = {
    "voc2012": open_voc2012,
    "coco2014": open_coco2014,
    "ade20k": open_ade20k,
    "cityscapes": open_cityscapes,
    "context59": open_context59,
    "context60": open_context60,
}

MASK_CLASSES: dict[str, Vocabulary] = {
    "voc": VOC,
    "coco": COCO,
    "ade20k": ADE20K,
    "cityscapes": CITYSCAPES,
    "context": PASCAL_CONTEXT,
}

_OTHER_NAMES = {
    "voc": "voc2012", "voc12": "voc2012", "pascalvoc": "voc2012", "pascalvoc2012": "voc2012",
    "coco": "coco2014", "coco14": "coco2014", "mscoco": "coco2014", "mscoco2014": "coco2014",
    "ade": "ade20k", "ade150": "ade20k", "ade20k150": "ade20k",
    "cityscapes19": "cityscapes",
    "context": "context59", "pascalcontext": "context59", "pascalcontext59": "context59",
    "pascalcontext60": "context60",
}  # fmt: skip


def open_benchmark(name: str, root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a benchmark by name.

    Args:
        name: a key of `BENCHMARKS` or a usual spelling of one (`voc`, `ade20k-150`, `pascal-context-60`).
        root: where it lies.
        split: which part.

    Raises:
        InvalidOption: no such benchmark.
        InvalidDataset: the layout differs.
    """
    key = fold(name)
    key = _OTHER_NAMES.get(key, key)
    if key not in BENCHMARKS:
        raise InvalidOption(f"Unknown dataset {name!r}.", fix=f"Use one of {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[key](root, split)


def mask_classes(text: str) -> Vocabulary:
    """Return the vocabulary of masks.

    Args:
        text: a key of `MASK_CLASSES`, or the names of classes 1, 2, 3, ... with commas between.

    Raises:
        InvalidOption: neither.
    """
    if fold(text) in MASK_CLASSES:
        return MASK_CLASSES[fold(text)]
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or not all(names):
        raise InvalidOption(
            f"Unknown mask classes {text!r}.",
            fix=f"Use one of {', '.join(MASK_CLASSES)}, or list the names of classes 1, 2, 3, ... with commas.",
        )
    return Vocabulary.of_names(names)
