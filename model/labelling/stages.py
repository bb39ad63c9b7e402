"""What a photo is between the steps of labelling: decoded, then with its maps. And what both makers of maps decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toco.model.labelling.asked_tags import AskedTags
from toco.model.method.label import TagSource
from toco.model.method.mask_merge import ForeignMask
from toco.model.options import CompleteCamOptions, LabelOptions
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


class DecoderPart(NamedTuple):
    """What the decoder has in the maps of a photo's K tags.

    Attributes:
        shares: (K, 1, 1) float32 in 0..1, its share in the map of each tag.
        full: (K, 1, 1) float32 over 0, at most 1. Its belief in a tag is divided by the largest in the photo, but by no
            less than this.
    """

    shares: npt.NDArray[np.float32]
    full: npt.NDArray[np.float32]


def decoder_part(cam: CompleteCamOptions, probabilities: npt.NDArray[np.float32]) -> DecoderPart:
    """Return what the decoder has in the map of each of K tags.

    Args:
        cam: says its share, and what is done for tags that the classifier doubts.
        probabilities: (K,) of the classifier.
    """
    weight, doubted = cam.decoder_weight, cam.doubted
    shares = np.full((len(probabilities), 1, 1), weight, np.float32)
    full = np.ones_like(shares)
    if doubted is not None and weight:
        doubtful = probabilities < doubted.under
        shares[doubtful] = max(weight, doubted.decoder_weight)
        full[doubtful] = doubted.full_belief
    return DecoderPart(shares, full)


def by_nearness(scales: Sequence[float]) -> list[float]:
    """Return scales, those near the full one first."""
    return sorted(scales, key=lambda scale: abs(scale - 1.0))


def chosen_channels(job: PhotoJob, probabilities: npt.NDArray[np.float32], options: LabelOptions) -> tuple[int, ...]:
    """Return the classes of a photo: its tags, or what the classifier's probabilities (C,) say without any."""
    if job.asked.channels is not None:
        return job.asked.channels
    return tuple(int(channel) for channel in np.flatnonzero(probabilities >= options.tag_threshold))
