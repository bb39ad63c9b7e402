"""Speed of our dense CRF against pydensecrf, by number of classes, image size and setting, and their agreement.

    python -m benchmarks.crf --json crf.json

Both run on the calling thread alone, in turn on the same inputs, and are timed by that thread's CPU time: other load on
the machine is not counted. Figures are medians over photos and rounds; a ratio is the median of the paired ratios.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import provenance
from toco.model.crf.backend import CrfBackend
from toco.model.crf.lattice_backend import LatticeBackend
from toco.model.crf.pydensecrf_backend import PydensecrfBackend
from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF, CrfSettings

SAMPLES = Path(__file__).parent.parent / "samples"
SETTINGS = {
    "pseudo mask": PSEUDO_MASK_CRF,
    "segmentation": SEGMENTATION_CRF,
    "wide colour": CrfSettings(
        gaussian_sxy=3.0, gaussian_weight=3.0, bilateral_sxy=80.0, bilateral_srgb=13.0, bilateral_weight=10.0
    ),
}
CLASSES = (2, 3, 4, 21)
SIDES = (352, 500)
# The published recipe runs over all classes of VOC and background.
ALL_CLASSES = 21
TOKEN_GRID = 28
BACKGROUNDS = (0.7, 0.25)
START_UP = """
import time
started = time.process_time()
import numpy as np
from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import PSEUDO_MASK_CRF
crf_backend("lattice").infer(np.full((2, 64, 64), 0.5, np.float32), np.zeros((64, 64, 3), np.uint8), PSEUDO_MASK_CRF)
print(time.process_time() - started)
"""


@dataclass(frozen=True)
class Row:
    """One setting, number of classes and image size.

    Attributes:
        side: long side of the photos, pixels.
        reference_ms: pydensecrf, milliseconds of CPU time a call.
        cached_ms: ours, the spatial lattice kept from an image of the same size.
        cold_ms: ours, nothing kept.
        cached_ratio: reference over cached.
        cold_ratio: reference over cold.
        equal_labels: share (0..1) of pixels with the same class, over all photos.
        largest_difference: of any marginal, over all photos.
    """

    setting: str
    classes: int
    side: int
    reference_ms: float
    cached_ms: float
    cold_ms: float
    cached_ratio: float
    cold_ratio: float
    equal_labels: float
    largest_difference: float


@dataclass(frozen=True)
class Refinement:
    """The pseudo mask of a photo with one tag (two CRFs) against one call of pydensecrf over all 21 classes.

    Attributes:
        side: long side of the photos, pixels.
        reference_ms: pydensecrf with 21 classes, one call, milliseconds of CPU time.
        refinement_ms: ours, both CRFs with lattices.
        ratio: reference over refinement; the published recipe makes the reference call twice.
    """

    side: int
    reference_ms: float
    refinement_ms: float
    ratio: float


def run(
    photos: Sequence[Path] | None = None,
    *,
    sides: Sequence[int] = SIDES,
    classes: Sequence[int] = CLASSES,
    settings: Sequence[str] = tuple(SETTINGS),
    rounds: int = 3,
) -> dict[str, Any]:
    """Measure.

    Args:
        photos: image files; the samples of the project if None.
        sides: long sides in pixels that the photos are resized to.
        classes: numbers of classes.
        settings: names in `SETTINGS`.
        rounds: repetitions of each pair of calls.

    Returns:
        `rows` (see `Row`), `refinements` (see `Refinement`) and `start_up` (see `start_up_seconds`).
    """
    files = sorted(SAMPLES.glob("*.jpg")) if photos is None else photos
    rows, refinements = [], []
    for side in sides:
        images = [_photo(file, side) for file in files]
        rows += [_row(name, count, side, images, rounds) for name in settings for count in classes]
        refinements.append(_refinement(side, images, rounds))
    return {
        "rows": [asdict(row) for row in rows],
        "refinements": [asdict(refinement) for refinement in refinements],
        "start_up": start_up_seconds(),
    }


def start_up_seconds() -> dict[str, float]:
    """CPU seconds of a process from its start to the first result: machine code made anew, and found on disk."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", START_UP]
        times = [
            float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
            for _ in range(2)
        ]
    return dict(zip(("compiling", "cached"), times, strict=True))


def markdown(result: dict[str, Any]) -> str:
    """The result of `run` as Markdown tables."""
    lines = [
        "| setting | classes | side | pydensecrf ms | ours ms | ratio | ours cold ms | ratio | equal labels | max dQ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['setting']} | {r['classes']} | {r['side']} | {r['reference_ms']:.0f} | {r['cached_ms']:.1f} "
        f"| {r['cached_ratio']:.1f} | {r['cold_ms']:.1f} | {r['cold_ratio']:.1f} | {100 * r['equal_labels']:.3f} % "
        f"| {r['largest_difference']:.0e} |"
        for r in result["rows"]
    ]
    lines += ["", "| pseudo mask, long side | pydensecrf, 21 classes, one call, ms | ours, whole, ms | ratio |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {r['side']} | {r['reference_ms']:.0f} | {r['refinement_ms']:.1f} | {r['ratio']:.1f} |"
        for r in result["refinements"]
    ]
    return "\n".join(lines)


def _photo(file: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        scale = side / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        return np.array(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    odds: NDArray[np.float32] = np.exp(logits - logits.max(0))
    odds /= odds.sum(0)
    return odds


def _enlarged(coarse: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps (k, h, w) on the token grid, resized to the image."""
    size = image.shape[1::-1]
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BILINEAR)) for c in coarse])


def _maps(classes: int, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities such as a network gives: random logits, smooth over a few tokens."""
    coarse = np.random.default_rng(classes).normal(0, 2, (classes, TOKEN_GRID // 4, TOKEN_GRID // 4))
    return _softmax(_enlarged(coarse.astype(np.float32), image))


def _timed(
    backend: CrfBackend, maps: NDArray[np.float32], image: NDArray[np.uint8], settings: CrfSettings
) -> tuple[float, NDArray[np.float32]]:
    """Milliseconds of this thread's CPU time, and the marginals."""
    started = time.thread_time()
    result = backend.infer(maps, image, settings)
    return 1000 * (time.thread_time() - started), result


def _row(name: str, classes: int, side: int, images: Sequence[NDArray[np.uint8]], rounds: int) -> Row:
    backends: dict[str, CrfBackend] = {
        "reference": PydensecrfBackend(),
        "cached": LatticeBackend(),
        "cold": LatticeBackend(cache_bytes=0),
    }
    times: dict[str, list[float]] = {key: [] for key in backends}
    equal, pixels, difference = 0, 0, 0.0
    for image in images:
        maps = _maps(classes, image)
        backends["cached"].infer(maps, image, SETTINGS[name])
        for _ in range(rounds):
            results = {}
            for key, backend in backends.items():
                milliseconds, results[key] = _timed(backend, maps, image, SETTINGS[name])
                times[key].append(milliseconds)
        equal += int((results["reference"].argmax(0) == results["cached"].argmax(0)).sum())
        pixels += image.shape[0] * image.shape[1]
        difference = max(difference, float(np.abs(results["reference"] - results["cached"]).max()))
    return Row(
        setting=name,
        classes=classes,
        side=side,
        reference_ms=median(times["reference"]),
        cached_ms=median(times["cached"]),
        cold_ms=median(times["cold"]),
        cached_ratio=_ratio(times["reference"], times["cached"]),
        cold_ratio=_ratio(times["reference"], times["cold"]),
        equal_labels=equal / pixels,
        largest_difference=difference,
    )


def _refinement(side: int, images: Sequence[NDArray[np.uint8]], rounds: int) -> Refinement:
    reference, ours = PydensecrfBackend(), LatticeBackend()
    reference_ms, ours_ms = [], []
    for image in images:
        all_maps = _maps(ALL_CLASSES, image)
        cam = _maps(2, image)[:1]
        problems = np.stack([_softmax(np.concatenate([np.full_like(cam, level), cam])) for level in BACKGROUNDS])
        ours.infer(problems, image, PSEUDO_MASK_CRF)
        for _ in range(rounds):
            reference_ms.append(_timed(reference, all_maps, image, PSEUDO_MASK_CRF)[0])
            ours_ms.append(_timed(ours, problems, image, PSEUDO_MASK_CRF)[0])
    return Refinement(side, median(reference_ms), median(ours_ms), _ratio(reference_ms, ours_ms))


def _ratio(reference: Sequence[float], ours: Sequence[float]) -> float:
    return median(a / b for a, b in zip(reference, ours, strict=True))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--photo", type=Path, action="append", help="measure on these photos instead of the samples")
    parser.add_argument("--side", type=int, action="append", help="long side of the photos, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result = run(arguments.photo, sides=arguments.side or SIDES, rounds=arguments.rounds)
    result |= provenance()
    print(markdown(result))
    print(f"\nFirst result of a process: {result['start_up']} seconds of CPU time.")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
