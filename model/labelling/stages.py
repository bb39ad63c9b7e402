"""What a photo is between the steps of labelling: decoded, then with its maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toco.model.labelling.asked_tags import AskedTags
from toco.model.method.label import TagSource
from toco.model.method.mask_merge import ForeignMask
from toco.model.photos.images import DecodedImage


@dataclass(slots=True)
class PhotoJob:
    """A decoded photo on its way."""

    photo: DecodedImage
    asked: AskedTags
    timings: dict[str, float]
    masks: Sequence[ForeignMask] = ()


@dataclass(slots=True)
class PhotoMaps:
    """What the device made of a photo, on the CPU, at the photo's working size."""

    channels: tuple[int, ...]
    tag_source: TagSource
    tag_probabilities: npt.NDArray[np.float32]
    cams: npt.NDArray[np.float32]  # (K, h, w)
    segmentation: npt.NDArray[np.float32] | None  # (K + 1, h, w) probabilities
    segmentation_channels: tuple[int, ...]
    objects: npt.NDArray[np.float32] | None  # (1 + K, h, w) as of `object_maps`, where a word is left open
    tokens: npt.NDArray[np.float16] | None = None  # (h, w, d), see `Label`
