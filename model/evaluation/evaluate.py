"""Evaluation of masks against truth: one confusion matrix over a whole dataset, IoU a class, and the report.

Never a mean of per-image IoUs. Truth pixels of 255 are left out; truth pixels of classes that are not evaluated
count as background, and so do predicted ones.

References:
    METHOD section 6; VOC 2012 development kit, section 5.3 (segmentation accuracy).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from toco.model.errors import InvalidArray, TocoError
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary

Mask = npt.NDArray[np.uint8]

_UNDEFINED: Final = -1


class MaskMapping:
    """Translates the indices of one vocabulary's masks to the rows of a confusion matrix.

    Args:
        source: the vocabulary whose `index` values the masks hold.
        classes: the evaluated classes; matched to those of `source` by name or synonym. Class number i (0-based)
            becomes row i + 1; background and every class that is not evaluated become row 0; 255 stays 255.
    """

    def __init__(self, source: Vocabulary, classes: Vocabulary) -> None:
        self._source = source
        self._table = np.full(256, _UNDEFINED, np.int16)
        self._table[[BACKGROUND, IGNORE]] = BACKGROUND, IGNORE
        for entry in source:
            spelling = next((name for name in (entry.name, *entry.synonyms) if name in classes), None)
            self._table[entry.index] = BACKGROUND if spelling is None else classes.channel(spelling) + 1

    def __call__(self, mask: Mask) -> npt.NDArray[np.int16]:
        """Translate a mask.

        Args:
            mask: (H, W) uint8 indices of the source vocabulary, 0 background, 255 ignore.

        Returns:
            (H, W) int16 rows, 255 kept.

        Raises:
            InvalidArray: not (H, W) uint8, or with an index that the vocabulary does not define.
        """
        if mask.dtype != np.uint8 or mask.ndim != 2:
            raise InvalidArray(f"A mask of {mask.dtype} {mask.shape}.", fix="Give (H, W) uint8 class indices.")
        rows = self._table[mask]
        if (rows == _UNDEFINED).any():
            raise InvalidArray(
                f"A mask holds index {int(mask[rows == _UNDEFINED][0])}, which names no class.",
                fix=f"Name the masks' own classes; these are {', '.join(self._source.names)}.",
            )
        return rows


class ConfusionMatrix:
    """Counts of pixels by true (row) and predicted (column) class; row and column 0 are background.

    Args:
        classes: names of the C evaluated classes, background not among them.
        open_pixels: what a predicted 255 (a pixel that a pseudo mask leaves open) counts as: `background` is the
            strict reading, a missed object; `left_out` judges only the pixels that were decided.

    Attributes:
        counts: (C + 1, C + 1) int64.
        judged: how many pixels the truth decides.
        undecided: how many of them are predicted 255.
    """

    def __init__(
        self, classes: Sequence[str], *, open_pixels: Literal["background", "left_out"] = "background"
    ) -> None:
        self.names: tuple[str, ...] = (Vocabulary.BACKGROUND_NAME, *classes)
        self.open_pixels: Final = open_pixels
        self.counts: npt.NDArray[np.int64] = np.zeros((len(self.names), len(self.names)), np.int64)
        self.judged = 0
        self.undecided = 0

    def update(self, truth: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]]) -> None:
        """Count one image.

        Args:
            truth: (H, W) integer rows 0..C; 255 is left out.
            prediction: (H, W) integer columns 0..C, or 255.

        Raises:
            InvalidArray: the shapes differ, or a value is outside 0..C and not 255.
        """
        if truth.shape != prediction.shape:
            raise InvalidArray(
                f"Truth of {truth.shape} against a prediction of {prediction.shape}.", fix="Give masks of one size."
            )
        for values in (truth, prediction):
            bad = (values != IGNORE) & ((values < 0) | (values >= len(self.names)))
            if bad.any():
                raise InvalidArray(
                    f"A value of {int(values[bad][0])}; there are {len(self.names)} classes, background included.",
                    fix="Translate masks with MaskMapping first.",
                )
        judged = truth != IGNORE
        undecided = judged & (prediction == IGNORE)
        self.undecided += int(np.count_nonzero(undecided))
        self.judged += int(np.count_nonzero(judged))
        if self.open_pixels == "left_out":
            judged &= ~undecided
        columns = np.where(prediction == IGNORE, BACKGROUND, prediction)[judged].astype(np.int64)
        cells = truth[judged].astype(np.int64) * len(self.names) + columns
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another part of the same dataset.

        Raises:
            InvalidArray: the classes or the rule for open pixels differ.
        """
        if other.names != self.names or other.open_pixels != self.open_pixels:
            raise InvalidArray(
                f"Confusion matrices of {', '.join(self.names)} ({self.open_pixels}) and of {', '.join(other.names)} "
                f"({other.open_pixels}).",
                fix="Merge parts of one evaluation.",
            )
        self.counts += other.counts
        self.undecided += other.undecided
        self.judged += other.judged

    @property
    def open_share(self) -> float:
        """Share (0..1) of the judged pixels whose prediction is 255."""
        return self.undecided / self.judged if self.judged else 0.0

    def iou(self) -> npt.NDArray[np.float64]:
        """Return (C + 1,) intersection over union, 0..1; NaN for a class in neither truth nor prediction."""
        intersection = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - intersection
        return np.asarray(np.divide(intersection, union, out=np.full_like(intersection, np.nan), where=union > 0))

    def in_truth(self) -> npt.NDArray[np.bool_]:
        """Return (C + 1,) whether the truth has any pixel of the class."""
        return np.asarray(self.counts.sum(axis=1) > 0)

    def mean_iou(self) -> float:
        """Return the mean IoU over background and the classes that the truth has; NaN if it has none.

        A class that is only predicted has no part in the mean (its pixels already count against the true classes);
        so has background on benchmarks that define none.
        """
        present = self.in_truth()
        return float(self.iou()[present].mean()) if present.any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Return the share (0..1) of judged pixels that are right; NaN without any."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")


def average_precision(
    scores: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.float64]:
    """Return how well scores rank the images that carry a tag, for each tag.

    Args:
        scores: (N, C) float, higher is likelier; any monotone scale.
        truth: (N, C) integer, 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (C,) float64 in 0..1, the mean over positives of the precision at their score; equal scores count as one
        step. NaN for a tag without positives.

    Raises:
        InvalidArray: the shapes differ, or are not (N, C).
    """
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise InvalidArray(f"Scores of {scores.shape}, truth of {truth.shape}.", fix="Give both as (N, C).")
    result = np.full(scores.shape[1], np.nan)
    for channel in range(scores.shape[1]):
        known = truth[:, channel] >= 0
        positive = truth[known, channel] == 1
        if not positive.any():
            continue
        order = np.argsort(-scores[known, channel], kind="stable")
        ranked, hits = scores[known, channel][order], positive[order]
        last_of_step = np.append(ranked[1:] != ranked[:-1], True)
        found = np.cumsum(hits)[last_of_step]
        precision = found / (np.flatnonzero(last_of_step) + 1)
        result[channel] = float((np.diff(found, prepend=0) * precision).sum() / found[-1])
    return result


class EvaluationReport(Frozen):
    """Figures of one evaluation; `model_dump_json` is the stable JSON.

    Attributes:
        miou: mean IoU, 0..1, over background and the classes that occur in the truth; None without any.
        per_class_iou: IoU, 0..1, by name, `background` first; classes in neither truth nor prediction are left out.
        confusion: rows (truth) of pixel counts (prediction), both in the order of `per_class_iou`.
        images: how many images were judged.
        settings: how the masks were made and judged.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    miou: float | None
    per_class_iou: dict[str, float]
    confusion: list[list[int]]
    images: int
    settings: dict[str, Any]
    seconds: float

    @classmethod
    def of(
        cls, matrix: ConfusionMatrix, *, images: int, seconds: float, settings: Mapping[str, Any]
    ) -> "EvaluationReport":
        """Sum up a confusion matrix."""
        iou, mean = matrix.iou(), matrix.mean_iou()
        met = np.flatnonzero(~np.isnan(iou))
        return cls(
            miou=None if np.isnan(mean) else mean,
            per_class_iou={matrix.names[row]: float(iou[row]) for row in met},
            confusion=matrix.counts[np.ix_(met, met)].tolist(),
            images=images,
            settings=dict(settings),
            seconds=seconds,
        )

    @property
    def pixel_accuracy(self) -> float | None:
        """Share (0..1) of the judged pixels that are right."""
        counts = np.asarray(self.confusion)
        return float(np.trace(counts) / counts.sum()) if counts.sum() else None


def markdown_table(reports: Mapping[str, EvaluationReport]) -> str:
    """Return reports side by side: a row a class, a column a report, IoU in percent, the mean last.

    Args:
        reports: by column title.
    """
    names = dict.fromkeys(name for report in reports.values() for name in report.per_class_iou)
    lines = [f"| class | {' | '.join(reports)} |", f"|---|{'---:|' * len(reports)}"]
    for name in names:
        cells = (_percent(report.per_class_iou.get(name)) for report in reports.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"| **mIoU** | {' | '.join(f'**{_percent(report.miou)}**' for report in reports.values())} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of an evaluation.

    Attributes:
        name: for messages.
        tags: image-level tags as written, or None to have them read off the truth.
        read_truth: returns the (H, W) uint8 truth in the dataset's indices, 255 left out.
        image: the photo.
    """

    name: str
    image: Path
    read_truth: Callable[[], Mask]
    tags: tuple[str, ...] | None = None


Predict = Callable[[Iterable[tuple[Sample, tuple[str, ...] | None]]], Iterator[Mask | TocoError]]
"""Takes samples with the tags that gate them (None: not gated); gives, in order, (H, W) uint8 masks in the model's
indices, or the error that the image met."""


@dataclass(slots=True)
class _Progress:
    """What `evaluate` finds out beside the counts."""

    unknown_tags: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    images: int = 0


def evaluate(
    samples: Sequence[Sample],
    predict: Predict,
    *,
    truth_classes: Vocabulary,
    model_classes: Vocabulary,
    classes: Sequence[str] | None = None,
    gate: bool = True,
    open_pixels: Literal["background", "left_out"] = "background",
    settings: Mapping[str, Any] | None = None,
    on_image: Callable[[], None] = lambda: None,
    on_judged: Callable[[Sample, npt.NDArray[np.int16], npt.NDArray[np.int16]], None] = lambda *_: None,
) -> EvaluationReport:
    """Judge a model's masks against a dataset.

    Args:
        samples: the images.
        predict: makes the masks; sees only samples with a tag to gate by, or all of them without a gate.
        truth_classes: vocabulary of the truth masks.
        model_classes: vocabulary of the predicted masks.
        classes: evaluate only these of the model's classes; in truth and prediction all others are background. Tags
            of others still go to the model, which then need not call a train a person. None: all.
        gate: give each image's tags to `predict`; tags that the model does not know are left out and counted, and an
            image that has no other tag is background all over.
        open_pixels: see `ConfusionMatrix`.
        settings: how the masks are made, for the report.
        on_image: called after each image.
        on_judged: called with each image that got a mask, and the rows of truth and mask as in `ConfusionMatrix`.

    Raises:
        InvalidArray: a truth mask does not fit its image or its vocabulary.
        UnknownTag: `classes` names one that the model does not know.
    """
    started = time.perf_counter()
    evaluated = model_classes if classes is None else model_classes.subset(classes)
    of_truth, of_model = MaskMapping(truth_classes, evaluated), MaskMapping(model_classes, evaluated)
    matrix = ConfusionMatrix(evaluated.names, open_pixels=open_pixels)
    found = _Progress()
    gates = [_gate(sample, truth_classes, model_classes, found) if gate else None for sample in samples]
    masks = predict((sample, tags) for sample, tags in zip(samples, gates, strict=True) if tags != ())
    for sample, tags in zip(samples, gates, strict=True):
        truth = sample.read_truth()
        mask = np.zeros(truth.shape, np.uint8) if tags == () else next(masks)
        if isinstance(mask, TocoError):
            found.failures[sample.name] = str(mask)
        else:
            try:
                rows, columns = of_truth(truth), of_model(mask)
                matrix.update(rows, columns)
            except InvalidArray as error:
                raise InvalidArray(f"{sample.name}: {error.detail}", fix=error.fix) from None
            found.images += 1
            on_judged(sample, rows, columns)
        on_image()
    judged = {
        "gate": gate,
        "open_pixels": open_pixels,
        "open_share": matrix.open_share,
        "mean_over": [name for name, present in zip(matrix.names, matrix.in_truth(), strict=True) if present],
        "tags_left_out": dict(found.unknown_tags.most_common()),
        "failed": found.failures,
    }
    return EvaluationReport.of(
        matrix, images=found.images, seconds=time.perf_counter() - started, settings={**(settings or {}), **judged}
    )


def tags_of_truth(truth: Mask, classes: Vocabulary) -> tuple[str, ...]:
    """Return the names of the classes that a truth mask shows, in the vocabulary's order.

    Args:
        truth: (H, W) uint8 indices of `classes`.
        classes: the vocabulary of the mask.
    """
    shown = set(np.unique(truth).tolist())
    return tuple(entry.name for entry in classes if entry.index in shown)


def _gate(sample: Sample, truth_classes: Vocabulary, known: Vocabulary, found: _Progress) -> tuple[str, ...]:
    """Return the canonical names of a sample's tags that the model knows; count the others."""
    tags = tags_of_truth(sample.read_truth(), truth_classes) if sample.tags is None else sample.tags
    spellings = {entry.name: (entry.name, *entry.synonyms) for entry in truth_classes}
    # A name that the dataset knows may be spelt otherwise in the model's vocabulary.
    translated = [next((name for name in spellings.get(tag, (tag,)) if name in known), tag) for tag in tags]
    channels, unknown = known.split_known(translated)
    found.unknown_tags.update(unknown)
    return tuple(known.names[channel] for channel in channels)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
