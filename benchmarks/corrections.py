"""What corrections are worth: the mIoU of the photos that nobody corrected, after 0, 10, 25 and 50 corrections.

    python -m benchmarks.corrections --data ../shared/data --cache maps

600 training photos and the validation photos are one job of the default model. True masks are the person; only the
validation photos have them, so these are corrected, and those of them that were not are judged (background and the six
animals, tags gated, dense CRF, every pixel decided). Photos are corrected in the product's order (doubt, spread over
classes and kinds of photos) or at random (mean of three draws). What is done already is kept in the JSON.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.corrected_job import PRESET, CorrectedJob
from benchmarks.machine import ROOT, provenance
from benchmarks.tables import place_in_file
from toco.jobs.teaching_order import Candidate, teaching_order
from toco.model.formats.result import result_of
from toco.model.learning.adjust import AdjustSettings, corrected_photo, fit_adjustment

COUNTS: Final = (10, 25, 50)
DRAWS: Final = 3
FIGURES: Final = ROOT / "docs" / "corrections.json"
DOCUMENT: Final = ROOT / "docs" / "corrections.md"
CURVE: Final = ROOT / "docs" / "images" / "corrections.svg"
GROUPS: Final = ("one tag", "several tags", "all")


def product_order(found: CorrectedJob) -> list[int]:
    """Return the photos to correct first, as the product names them."""
    candidates = []
    for place, photo in enumerate(found.photos):
        label = found.label(photo, found.options)
        result = result_of(label, found.labeler.spec, found.options)
        candidates.append(Candidate(f"{place:06d}", result.doubt, result.tags))
    return [int(candidate.id) for candidate in teaching_order(candidates, limit=max(COUNTS))]


def measure(data: Path, cache: Path | None) -> None:
    """Measure what is not in the JSON yet, and write it after each run."""
    found = CorrectedJob(data, cache)
    figures: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    asked = {
        "settings": AdjustSettings().model_dump(),
        "model": found.labeler.spec.version,
        "options": found.labeler.spec.completed(found.options).digest(),
    }
    if not asked.items() <= figures.items():
        figures = {**asked, "preset": PRESET, "job": found.job_size, "photos": len(found.photos), "runs": {}}
    before = found.masks(found.photos)
    figures.setdefault("before", found.judge(found.photos, before))
    figures.setdefault("order", product_order(found))
    orders = {"product": figures["order"]}
    for seed in range(DRAWS):
        orders[f"random {seed}"] = np.random.default_rng(seed).permutation(len(found.photos)).tolist()
    for name, order in orders.items():
        for count in COUNTS:
            if f"{name} {count}" in figures["runs"]:
                continue
            chosen = set(order[:count])
            others = [place for place in range(len(found.photos)) if place not in chosen]
            photos = [found.photos[place] for place in others]
            taught = [_corrected(found, place) for place in order[:count]]
            adjustment = fit_adjustment(
                [photo for photo in taught if photo is not None],
                classes=len(found.labeler.vocabulary),
                level=found.labeler.spec.thresholds.plain,
                model_version=found.labeler.spec.version,
            )
            figures["runs"][f"{name} {count}"] = {
                "before": found.judge(photos, [before[place] for place in others]),
                "after": found.judge(photos, found.masks(photos, adjustment)),
            }
            figures["machine"] = provenance()
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _corrected(found: CorrectedJob, place: int) -> Any:
    photo = found.photos[place]
    return corrected_photo(photo.maps, photo.sample.read_truth(), found.labeler.vocabulary.indices)


def gains(figures: dict[str, Any], order: str, group: str) -> list[tuple[int, float, float]]:
    """Return count, mIoU before and after on the photos that were not corrected; the mean over random draws."""
    rows = []
    for count in COUNTS:
        runs = [run for name, run in figures["runs"].items() if name.startswith(order) and name.endswith(f" {count}")]
        if runs:
            before, after = (float(np.mean([run[when][group] for run in runs])) for when in ("before", "after"))
            rows.append((count, before, after))
    return rows


def table() -> str:
    """Return the figures as a Markdown table."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    lines = [
        "| corrections | order | photos with one tag | with several | all |",
        "|---|---|---|---|---|",
        "| 0 | | " + " | ".join(f"{figures['before'][group]:.3f}" for group in GROUPS) + " |",
    ]
    for order in ("product", "random"):
        by_group = [gains(figures, order, group) for group in GROUPS]
        for rows in zip(*by_group, strict=True):
            cells = [f"{before:.3f} → {after:.3f} ({after - before:+.3f})" for _, before, after in rows]
            lines.append(f"| {rows[0][0]} | {order} | {' | '.join(cells)} |")
    return "\n".join(lines)


def curve() -> str:
    """Return the gain on the photos that were not corrected as an SVG."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    width, height, left, bottom, most = 560, 300, 60, 40, 0.08
    style = 'font-family="sans-serif" font-size="12" fill="#5f6368"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>']

    def at(count: float, gain: float) -> tuple[float, float]:
        across, up = (width - left - 20) / max(COUNTS), (height - bottom - 20) / most
        return left + count * across, height - bottom - gain * up

    for step in range(5):
        gain = most * step / 4
        x, y = at(0, gain)
        lines.append(f'<path d="M{x} {y:.1f}H{width - 20}" stroke="#dadce0"/>')
        lines.append(f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">+{gain:.2f}</text>')
    for count in (0, *COUNTS):
        x, y = at(count, 0)
        lines.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{count}</text>')
    lines.append(f'<text x="{width - 20}" y="{height - 6}" text-anchor="end">corrected photos</text>')
    kinds = (("product", "several tags", "#2f6fed", ""), ("random", "several tags", "#2f6fed", "5 4"),
             ("product", "all", "#0a7d5a", ""), ("random", "all", "#0a7d5a", "5 4"))  # fmt: skip
    for row, (order, group, colour, dash) in enumerate(kinds):
        points = [(0.0, 0.0), *((count, after - before) for count, before, after in gains(figures, order, group))]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        lines.append(f'<polyline points="{path}" {style}/>')
        lines.append(f'<path d="M{left + 14} {24 + 16 * row}h28" {style}/>')
        lines.append(f'<text x="{left + 50}" y="{28 + 16 * row}">{group}, {order} order</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals; without it, table and curve alone")
    parser.add_argument("--cache", type=Path, help="folder to keep maps in")
    arguments = parser.parse_args()
    if arguments.data is not None:
        measure(arguments.data, arguments.cache)
    CURVE.write_text(curve(), "utf-8")
    place_in_file(DOCUMENT, {"corrections": table()})


if __name__ == "__main__":
    main()
