"""Where masks are right and where they are not: figures by number of tags, by size of the object, and at boundaries.

A mean over all photos hides that masks of one thing are good and those of several are not.

References:
    Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013), for boundary F.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.evaluation.evaluate import ConfusionMatrix, EvaluationReport
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE

SIZE_BOUNDS: Final = (0.02, 0.10, 0.25)
"""Shares of a photo that part small objects from large ones; an object is all of a class in one photo."""

BOUNDARY_TOLERANCE: Final = 0.0075
"""How far, in parts of the photo's diagonal, two boundaries may lie apart and still agree."""

Rows = npt.NDArray[np.int16]


class GroupFigures(Frozen):
    """Figures of some of the photos.

    Attributes:
        images: how many.
        miou: mean IoU (0..1) over background and the classes in their truth; None without any.
        boundary_f: mean boundary F (0..1) over the classes in their truth; None without any.
        per_class_iou: IoU (0..1) by name; classes in neither truth nor prediction are left out.
    """

    images: int
    miou: float | None
    boundary_f: float | None
    per_class_iou: dict[str, float]


class SizeFigures(Frozen):
    """Figures of objects of like size.

    Attributes:
        objects: how many.
        iou: intersection over union (0..1) of all of them together; None without any.
    """

    objects: int
    iou: float | None


class BreakdownReport(Frozen):
    """Figures of parts of a dataset.

    Attributes:
        by_tags: of photos with `one tag`, with `several tags` and of `all` of them.
        by_size: of objects by the share of their photo, as `under 2 %`.
    """

    by_tags: dict[str, GroupFigures]
    by_size: dict[str, SizeFigures]


class BrokenDownReport(EvaluationReport):
    """Figures of a dataset and of its parts."""

    breakdown: BreakdownReport


class _Boundaries:
    """Counts of boundary pixels a class: of the truth, of them found; predicted, of them right."""

    def __init__(self, classes: int) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros((classes + 1, 4), np.int64)

    def f(self, row: int) -> float:
        truth, found, predicted, right = (int(value) for value in self.counts[row])
        recall, precision = found / max(truth, 1), right / max(predicted, 1)
        return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0


class _Group:
    def __init__(self, classes: Sequence[str], **options: Any) -> None:
        self.images = 0
        self.matrix = ConfusionMatrix(classes, **options)
        self.boundaries = _Boundaries(len(classes))

    def figures(self) -> GroupFigures:
        iou, mean = self.matrix.iou(), self.matrix.mean_iou()
        judged = [row for row in np.flatnonzero(self.matrix.in_truth()) if row != BACKGROUND]
        return GroupFigures(
            images=self.images,
            miou=None if np.isnan(mean) else mean,
            boundary_f=float(np.mean([self.boundaries.f(int(row)) for row in judged])) if judged else None,
            per_class_iou={self.matrix.names[row]: float(iou[row]) for row in np.flatnonzero(~np.isnan(iou))},
        )


class Breakdown:
    """Collects figures of parts of a dataset, an image at a time.

    Args:
        classes: names of the C evaluated classes, background not among them.
        options: of `ConfusionMatrix`.
    """

    def __init__(self, classes: Sequence[str], **options: Any) -> None:
        self._groups = {name: _Group(classes, **options) for name in ("one tag", "several tags", "all")}
        self._sizes: npt.NDArray[np.int64] = np.zeros((len(SIZE_BOUNDS) + 1, 3), np.int64)  # objects, both, either

    def update(self, truth: Rows, prediction: Rows, tags: int) -> None:
        """Count one image.

        Args:
            truth: (H, W) rows 0..C, 255 left out.
            prediction: (H, W) columns 0..C, or 255.
            tags: how many tags the photo has, evaluated or not; photos without any are in no group but `all`.
        """
        groups = [self._groups["all"]]
        if tags:
            groups.append(self._groups["one tag" if tags == 1 else "several tags"])
        counts = boundary_counts(truth, prediction, len(groups[0].matrix.names) - 1)
        for group in groups:
            group.images += 1
            group.matrix.update(truth, prediction)
            group.boundaries.counts += counts
        judged = truth != IGNORE
        for row in np.unique(truth[judged]):
            if row == BACKGROUND:
                continue
            own, called = truth == row, (prediction == row) & judged
            place = int(np.searchsorted(SIZE_BOUNDS, own.mean(), side="right"))
            self._sizes[place] += (1, np.count_nonzero(own & called), np.count_nonzero(own | called))

    def report(self) -> BreakdownReport:
        """Sum up."""
        bounds = [f"{100 * bound:g} %" for bound in SIZE_BOUNDS]
        names = [f"under {bounds[0]}"]
        names += [f"{low} to {high}" for low, high in pairwise(bounds)]
        names += [f"over {bounds[-1]}"]
        return BreakdownReport(
            by_tags={name: group.figures() for name, group in self._groups.items()},
            by_size={
                name: SizeFigures(objects=int(objects), iou=float(both / either) if either else None)
                for name, (objects, both, either) in zip(names, self._sizes, strict=True)
            },
        )


def broken_down(report: EvaluationReport, breakdown: Breakdown) -> BrokenDownReport:
    """Put the figures of a dataset and of its parts together."""
    return BrokenDownReport(**report.model_dump(), breakdown=breakdown.report())


def classes_shown(truth: Rows) -> int:
    """Return how many classes, background not counted, rows of a truth show."""
    return len(set(np.unique(truth).tolist()) - {BACKGROUND, IGNORE})


def boundary_counts(truth: Rows, prediction: Rows, classes: int) -> npt.NDArray[np.int64]:
    """Count boundary pixels of each class, and how many of them have a counterpart nearby.

    Args:
        truth: (H, W) rows 0..C, 255 left out: a boundary towards such pixels is one, but they have none of their own.
        prediction: (H, W) columns 0..C, or 255.
        classes: C.

    Returns:
        (C + 1, 4): of the truth, of them found; predicted, of them right. Row 0, background, stays 0.
    """
    counts = np.zeros((classes + 1, 4), np.int64)
    reach = max(1.0, BOUNDARY_TOLERANCE * float(np.hypot(*truth.shape)))
    for row in np.union1d(np.unique(truth), np.unique(prediction)):
        if row in (BACKGROUND, IGNORE):
            continue
        ours, theirs = _boundary(prediction == row), _boundary(truth == row)
        counts[row] = (
            np.count_nonzero(theirs),
            np.count_nonzero(theirs & _near(ours, reach)),
            np.count_nonzero(ours),
            np.count_nonzero(ours & _near(theirs, reach)),
        )
    return counts


def _boundary(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a region that touch another; the edge of the photo is no boundary."""
    inside = region.astype(np.uint8)
    eroded = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(inside != eroded)


def _near(boundary: npt.NDArray[np.bool_], reach: float) -> npt.NDArray[np.bool_]:
    if not boundary.any():
        return boundary
    distance = cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= reach)


def markdown_breakdown(report: BreakdownReport) -> str:
    """Return the figures as two Markdown tables, in percent."""
    lines = ["| photos | count | mIoU | boundary F |", "|---|---:|---:|---:|"]
    for name, group in report.by_tags.items():
        lines.append(f"| {name} | {group.images} | {_percent(group.miou)} | {_percent(group.boundary_f)} |")
    lines += ["", "| object's share of its photo | objects | IoU |", "|---|---:|---:|"]
    lines += [f"| {name} | {size.objects} | {_percent(size.iou)} |" for name, size in report.by_size.items()]
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
