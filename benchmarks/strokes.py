"""How long a smart stroke takes, by size of the photo: the sample photos, enlarged, with the default model's tokens.

    python -m benchmarks.strokes

Two times are given, each of one thread's own work, so that other load is not counted: making a photo ready (once, when
the editor opens it), and one click until its region is ready to be sent. Writes the table of docs/corrections.md.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import ROOT, provenance
from benchmarks.tables import place_in_file
from toco.model.crf.choice import crf_backend
from toco.model.labelling.labeler import Labeler
from toco.model.method.reduced_tokens import ReducedTokens, reduce_tokens
from toco.model.method.smart_strokes import Stroke, StrokeBasis, stroke_basis, take_alike, warm_up
from toco.model.options import preset_options
from toco.model.photos.images import read_image
from toco.service.api.routes.strokes import region_of

DOCUMENT: Final = ROOT / "docs" / "corrections.md"
SIDES: Final = ((1000, 750), (4000, 3000), (8000, 6000))
CLICKS: Final = ((0.3, 0.4), (0.5, 0.5), (0.6, 0.7), (0.4, 0.8), (0.8, 0.2))


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of this thread that a piece of work takes."""
    began = time.thread_time()
    work()
    return 1000 * (time.thread_time() - began)


def click(basis: StrokeBasis, place: tuple[float, float]) -> None:
    """Answer one click, as the API does."""
    height, width = basis.photo_size
    taken = take_alike(basis, [Stroke(1, width / 100, ((place[0] * width, place[1] * height),))])
    region_of(taken, 1)


def row(pixels: npt.NDArray[np.uint8], tokens: ReducedTokens, size: tuple[int, int]) -> tuple[float, list[float]]:
    """Return how long a photo takes to be made ready, and each of the clicks on it."""
    large = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    bases: list[StrokeBasis] = []
    backend = crf_backend()
    ready = timed(lambda: bases.append(stroke_basis(large, tokens, size[::-1], backend=backend)))
    return ready, [timed(lambda place=place: click(bases[0], place)) for place in CLICKS]  # type: ignore[misc]  # mypy does not infer a lambda's default


def main() -> None:
    """Run the benchmark from the command line."""
    cv2.setNumThreads(1)
    warm_up(crf_backend())
    labeler = Labeler.from_folder(device="cpu", threads=1)
    photos = [read_image(path).pixels for path in sorted((ROOT / "samples").glob("*.jpg"))]
    labels = [labeler.label_one(pixels, None, preset_options("fast")) for pixels in photos]
    tokens = [reduce_tokens(label.tokens) for label in labels if label.tokens is not None]
    lines = ["| photo | made ready, ms | click, median, ms | slowest click, ms |", "|---|---:|---:|---:|"]
    for size in SIDES:
        found = [row(pixels, seen, size) for pixels, seen in zip(photos, tokens, strict=True)]
        clicks = [each for _, times in found for each in times]
        name = f"{size[0]} x {size[1]}"
        lines.append(
            f"| {name} | {median(ready for ready, _ in found):.0f} | {median(clicks):.0f} | {max(clicks):.0f} |"
        )
    origin = provenance()
    lines += [
        "",
        f"{len(photos)} photos, {len(CLICKS)} clicks each, one thread; {origin['processor']}, {origin['date']}.",
    ]
    place_in_file(DOCUMENT, {"strokes": "\n".join(lines)})
    print("\n".join(lines))


if __name__ == "__main__":
    main()
