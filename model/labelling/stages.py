"""What a photo is between the steps of labelling: decoded, then with its maps. And what both makers of maps decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toco.model.labelling.asked_tags import AskedTags
from toco.model.method.label import TagSource
from toco.model.method.mask_merge import ForeignMask
from toco.model.options import LabelOptions
from toco.model.photos.images import DecodedImage
from toco.model.spec import ModelSpec


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


def decoder_weight(options: LabelOptions, spec: ModelSpec) -> float:
    """Return the decoder's share in the maps, 0..1."""
    weight = options.cam.decoder_weight
    return spec.decoder_weight if weight is None else weight


def decoder_shares(
    options: LabelOptions, spec: ModelSpec, probabilities: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the decoder's share in the map of each of K tags, (K,) float32 in 0..1.

    Args:
        options: say the share, and that of tags that the classifier doubts.
        spec: of the model.
        probabilities: (K,) of the classifier.
    """
    weight, doubted = decoder_weight(options, spec), options.cam.doubted
    if doubted is None or not weight:
        return np.full(len(probabilities), weight, np.float32)
    return np.where(probabilities < doubted.under, max(weight, doubted.decoder_weight), weight).astype(np.float32)


def cam_size(options: LabelOptions, spec: ModelSpec) -> int:
    """Return the side in pixels of the square that CAMs are made of."""
    return options.cam.size or spec.input_size


def by_nearness(scales: Sequence[float]) -> list[float]:
    """Return scales, those near the full one first."""
    return sorted(scales, key=lambda scale: abs(scale - 1.0))


def chosen_channels(job: PhotoJob, probabilities: npt.NDArray[np.float32], options: LabelOptions) -> tuple[int, ...]:
    """Return the classes of a photo: its tags, or what the classifier's probabilities (C,) say without any."""
    if job.asked.channels is not None:
        return job.asked.channels
    return tuple(int(channel) for channel in np.flatnonzero(probabilities >= options.tag_threshold))
