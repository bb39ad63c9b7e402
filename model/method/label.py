"""The result of labelling one photo."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toco.model.method.mask_merge import MaskCounts
from toco.model.options import CompleteOptions
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.images import DecodedImage
from toco.model.photos.understanding import UnderstoodTag

TagSource = Literal["user", "model"]


@dataclass(frozen=True, slots=True)
class Label:
    """CAMs, pseudo mask and segmentation map of one photo.

    Attributes:
        vocabulary: the model's classes; masks hold their `index` values.
        tags: K canonical class names in channel order.
        tag_source: `user`, or `model` where the classifier chose the tags of an untagged photo.
        words: each tag as the user wrote it, and as understood; empty where the classifier chose.
        cams: (K, h, w) float32 in 0..1, one map a tag, at the working size.
        pseudo_mask: (H, W) uint8 mask indices, 0 background, 255 ignore, at the photo's own size.
        segmentation: (H, W) uint8 mask indices, or None where it was not asked for.
        tag_probabilities: (K,) float32 in 0..1, the classifier's own belief in each tag.
        photo: the photo at the working size, at which its CAMs were refined; smaller than its own where it was capped.
        options: what it was labelled with, what they left to the model filled in.
        tokens: (h, w, d) float16, last patch tokens of the photo's scale 1 on their grid; None where there are none.
        weak_tags: tags that were learnt weakly: what stands beside them may be taken for them.
        masks: masks from elsewhere that were merged in; None where there were none.
        timings: seconds a stage.
    """

    vocabulary: Vocabulary
    tags: tuple[str, ...]
    tag_source: TagSource
    words: tuple[UnderstoodTag, ...]
    cams: npt.NDArray[np.float32]
    pseudo_mask: npt.NDArray[np.uint8]
    segmentation: npt.NDArray[np.uint8] | None
    tag_probabilities: npt.NDArray[np.float32]
    photo: DecodedImage
    options: CompleteOptions
    tokens: npt.NDArray[np.float16] | None = None
    weak_tags: tuple[str, ...] = ()
    masks: MaskCounts | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def open_tags(self) -> tuple[str, ...]:
        """The words that are not understood: what they may own is open."""
        return tuple(word.written for word in self.words if word.is_open)

    @property
    def empty_tags(self) -> tuple[str, ...]:
        """The tags of which the pseudo mask shows nothing."""
        return tuple(row["name"] for row in self.class_report() if not row["area"])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo in pixels."""
        height, width = self.pseudo_mask.shape
        return int(height), int(width)

    @property
    def working_size(self) -> tuple[int, int]:
        """(h, w) in pixels at which CAMs were refined."""
        height, width = self.photo.pixels.shape[:2]
        return int(height), int(width)

    @property
    def ignore_ratio(self) -> float:
        """Share (0..1) of the pixels that the pseudo mask leaves open."""
        return float(np.mean(self.pseudo_mask == IGNORE))

    def class_report(self) -> list[dict[str, Any]]:
        """Return a row a tag: name, mask index, area in pixels and as a share, mean CAM score inside, peak, belief."""
        height, width = self.cams.shape[1:]
        rows = np.arange(height) * self.size[0] // max(height, 1)
        columns = np.arange(width) * self.size[1] // max(width, 1)
        small = self.pseudo_mask[rows[:, None], columns[None, :]]
        report = []
        for position, tag in enumerate(self.tags):
            index = self.vocabulary.classes[self.vocabulary.channel(tag)].index
            area = int(np.count_nonzero(self.pseudo_mask == index))
            inside = self.cams[position][small == index]
            report.append(
                {
                    "name": tag,
                    "index": index,
                    "area": area,
                    "area_ratio": area / self.pseudo_mask.size,
                    "score": float(inside.mean()) if inside.size else 0.0,
                    "peak": float(self.cams[position].max(initial=0.0)),
                    "tag_probability": float(self.tag_probabilities[position]),
                }
            )
        return report
