"""Evaluation of what `Labeler` makes: which of its masks is judged, with every pixel decided or some left open."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError
from toco.model.evaluation.evaluate import Predict, Sample
from toco.model.labelling.folder_run import SupportsLabel
from toco.model.labelling.labeler import LabelRequest
from toco.model.method.label import Label
from toco.model.options import LabelOptions, SegmentationOptions

JudgedMask = Literal["pseudo_mask", "segmentation"]


def judged_options(
    options: LabelOptions, judged: JudgedMask, *, crf: bool = True, gate: bool = True, ignore_band: bool = False
) -> LabelOptions:
    """Return options that compute the judged mask and nothing else.

    Args:
        options: of the labels.
        judged: which mask.
        crf: refine it with the dense CRF; without it, a pseudo mask is the paper's `plain` rule on the CAMs.
        gate: drop the channels of absent classes from the segmentation map.
        ignore_band: let the pseudo mask leave doubtful pixels open.
    """
    changes: dict[str, Any] = {"segmentation": None, "ignore_band": ignore_band}
    changes["refine"] = "crf" if crf and judged == "pseudo_mask" else "none"
    if judged == "segmentation":
        segmentation = options.segmentation or SegmentationOptions()
        changes["segmentation"] = segmentation.model_copy(update={"gate": gate, "refine": "crf" if crf else "none"})
    return options.model_copy(update=changes)


def predictor(labeler: SupportsLabel, options: LabelOptions) -> Predict:
    """Return what `evaluate` takes for a model: labels each sample and gives the judged mask.

    Args:
        labeler: the model.
        options: see `judged_options`; where they make a segmentation map, that is judged.
    """

    def decide(label: Label) -> npt.NDArray[np.uint8]:
        return label.pseudo_mask if label.segmentation is None else label.segmentation

    def predict(
        samples: Iterable[tuple[Sample, tuple[str, ...] | None]],
    ) -> Iterator[npt.NDArray[np.uint8] | TocoError]:
        requests = (LabelRequest(sample.image, tags, sample.name) for sample, tags in samples)
        for _, result in labeler.label(requests, options):
            yield result if isinstance(result, TocoError) else decide(result)

    return predict
