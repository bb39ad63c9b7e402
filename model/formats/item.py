"""One labelled photo as the export formats take it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray
from toco.model.formats.artifacts import (
    CAMS,
    PSEUDO_MASK,
    RESULT,
    SEGMENTATION,
    Cams,
    read_cams,
    read_mask,
    read_result,
)
from toco.model.formats.result import ItemResult
from toco.model.photos.names import require_relative


@dataclass(frozen=True, slots=True)
class LabelledItem:
    """A photo and its label; what is large is loaded when a format asks for it.

    Attributes:
        name: relative path of the photo, forward slashes.
        result: the description of the label.
        pseudo_mask: (H, W) uint8 mask indices, 0 background, 255 ignore.
        segmentation: (H, W) uint8 mask indices, or None where it was not made.
        load_image: returns the photo's original bytes; None where they are not at hand.
        load_cams: returns the class activation maps; None where they were not kept.

    Raises:
        InvalidName: `name` is no contained relative path.
        InvalidArray: a mask is not (H, W) uint8, or not of the size that the result states.
    """

    name: str
    result: ItemResult
    pseudo_mask: npt.NDArray[np.uint8]
    segmentation: npt.NDArray[np.uint8] | None = None
    load_image: Callable[[], bytes] | None = None
    load_cams: Callable[[], Cams] | None = None

    def __post_init__(self) -> None:
        require_relative(self.name)
        size = (self.result.size.height, self.result.size.width)
        for mask in (self.pseudo_mask, self.segmentation):
            if mask is not None and (mask.shape != size or mask.dtype != np.uint8):
                raise InvalidArray(
                    f"The mask of {self.name!r} has shape {mask.shape} and dtype {mask.dtype}.",
                    fix=f"Its result states uint8 {size}: read both from the same run.",
                )

    @classmethod
    def from_artifacts(
        cls, name: str, load: Callable[[str], bytes | None], *, load_image: Callable[[], bytes] | None = None
    ) -> Self:
        """Build an item from its stored artifacts.

        Args:
            name: relative path of the photo.
            load: returns an artifact's bytes by its name, or None where it was not made.
            load_image: returns the photo's original bytes.

        Raises:
            InvalidArtifact: `result.json` or `pseudo_mask.png` is missing or does not fit.
            InvalidName, InvalidArray: as the class itself.
        """
        result = read_result(load(RESULT) or b"")
        pseudo_mask = read_mask(load(PSEUDO_MASK) or b"")
        segmentation = load(SEGMENTATION)

        def cams() -> Cams:
            return read_cams(load(CAMS) or b"")

        return cls(
            name=name,
            result=result,
            pseudo_mask=pseudo_mask,
            segmentation=None if segmentation is None else read_mask(segmentation),
            load_image=load_image,
            load_cams=cams,
        )
