"""How often an audit's interval holds the true figure, and how wide it is, in random audits of photos with known truth.

    python -m benchmarks.audit --data ../shared/data --cache maps

The masks are those of the default model (`fast`, dense CRF, every pixel decided) on the validation photos of the animal
set; the true figure is that of all of them, over background and the classes that at least five of them are tagged with.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.corrected_job import CorrectedJob
from benchmarks.machine import ROOT, provenance
from benchmarks.tables import place_in_file
from toco.model.evaluation.audit import Population, check, draw_sample, estimate, strata_of
from toco.model.photos.classes import VOC

AUDITS: Final = 100
SIZES: Final = (20, 40, 80)
FIGURES: Final = ROOT / "docs" / "audit.json"
DOCUMENT: Final = ROOT / "docs" / "corrections.md"


def measure(data: Path, cache: Path | None) -> dict[str, Any]:
    """Audit the same job over and over."""
    found = CorrectedJob(data, cache)
    tags = [photo.tags for photo in found.photos]
    strata, population = strata_of(tags), Population.of(tags)
    checked = [
        check(stratum, mask, photo.sample.read_truth())
        for stratum, photo, mask in zip(strata, found.photos, found.masks(found.photos), strict=True)
    ]
    true = estimate(checked, population, VOC).miou.estimate
    rows = []
    for size in SIZES:
        said = [
            estimate([checked[place] for place in draw_sample(tags, size, seed)], population, VOC, seed=seed).miou
            for seed in range(AUDITS)
        ]
        rows.append(
            {
                "photos": size,
                "held": sum(entry.low <= true <= entry.high for entry in said),
                "width": float(np.mean([entry.high - entry.low for entry in said])),
                "off": float(np.mean([abs(entry.estimate - true) for entry in said])),
                "bias": float(np.mean([entry.estimate - true for entry in said])),
            }
        )
    return {
        "model": found.labeler.spec.version,
        "population": len(tags),
        "true": true,
        "audits": AUDITS,
        "rows": rows,
        "machine": provenance(),
    }


def table() -> str:
    """Return the figures as a Markdown table."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    held = f"intervals that hold the true {figures['true']:.3f}, of {figures['audits']}"
    lines = [
        f"| photos checked of {figures['population']} | {held} | mean width | mean error | bias |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['photos']} | {row['held']} | {row['width']:.3f} | {row['off']:.3f} | {row['bias']:+.3f} |"
        for row in figures["rows"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals; without it, the table alone")
    parser.add_argument("--cache", type=Path, help="folder to keep maps in")
    arguments = parser.parse_args()
    if arguments.data is not None:
        FIGURES.write_text(json.dumps(measure(arguments.data, arguments.cache), indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"audit": table()})


if __name__ == "__main__":
    main()
