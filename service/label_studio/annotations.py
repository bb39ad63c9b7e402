"""Annotations that people made in Label Studio, as masks of the items that they were made on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toco.model.formats.drawn_regions import label_studio_region
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.service.label_studio.labelling_config import LabellingConfig

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class AnnotatedMask:
    """What an annotation says of a photo.

    Attributes:
        mask: (H, W) uint8 indices of the vocabulary, 255 open.
        unknown: labels that mean no class, or several of which the photo's tags name not exactly one; open.
    """

    mask: Mask
    unknown: tuple[str, ...]


def mask_of_annotation(
    result: Sequence[Any],
    before: Mask,
    *,
    config: LabellingConfig,
    vocabulary: Vocabulary,
    tags: Collection[str],
) -> AnnotatedMask | None:
    """Draw the regions of an annotation, in their order, later ones over earlier ones.

    What no region covers is background, but for what was open (255) before: regions cannot show that, and who left it
    alone has not said that nothing is there.

    Args:
        result: of the annotation.
        before: (H, W) uint8, the mask that the prediction was made of.
        config: of the project.
        vocabulary: the classes of the mask.
        tags: class names of the photo; of a label that stands for several classes they say which it is.

    Returns:
        None where the annotation has no brush and no polygon: choices, points and boxes say nothing of single pixels.

    Raises:
        InvalidMask: a region is damaged, or drawn on a photo of another size.
    """
    size = (int(before.shape[0]), int(before.shape[1]))
    mask = np.where(before == IGNORE, np.uint8(IGNORE), np.uint8(BACKGROUND))
    unknown: dict[str, None] = {}
    drawn = False
    for region in result:
        inside = label_studio_region(region, size)
        if inside is None:
            continue
        drawn = True
        labels = region["value"].get(region["type"]) or []
        label = str(labels[0]) if labels else ""
        index = _index(label, config, vocabulary, tags)
        if index is None:
            unknown[label] = None
        mask[inside] = IGNORE if index is None else index
    return AnnotatedMask(mask, tuple(unknown)) if drawn else None


def _index(label: str, config: LabellingConfig, vocabulary: Vocabulary, tags: Collection[str]) -> int | None:
    names = [name for name in config.classes_of_tag(label, vocabulary) if name in vocabulary]
    if len(names) > 1:
        names = [name for name in names if name in tags]
    return vocabulary.classes[vocabulary.channel(names[0])].index if len(names) == 1 else None
