"""What a model's classifier believes of a photo's tags, and what a look at the photo says, without labelling it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from toco.model.labelling.labeler import Labeler
from toco.model.method.cams import resize
from toco.model.method.network import normalise_images
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import DecodedImage
from toco.model.photos.tag_doctor import ExaminedPhoto


class Seen(NamedTuple):
    """What a network sees in a whole photo.

    Attributes:
        scores: (C,) float32 in 0..1, the classifier's belief in each of the model's classes.
        look: (d,) float16, what the classifier reads: each channel's maximum over the patch tokens.
    """

    scores: npt.NDArray[np.float32]
    look: npt.NDArray[np.float16]


@torch.inference_mode()
def seen(labeler: Labeler, pixels: npt.NDArray[np.uint8]) -> Seen:
    """Return what a model sees in a photo.

    Args:
        labeler: the model.
        pixels: (H, W, 3) uint8 RGB.
    """
    spec, place = labeler.spec, labeler.device
    image = torch.from_numpy(np.ascontiguousarray(pixels)).to(place.device).permute(2, 0, 1)[None]
    square = resize(normalise_images(image, spec.mean, spec.std), (spec.input_size,) * 2)
    with torch.autocast(place.device.type, dtype=place.dtype, enabled=place.dtype is not None):
        tokens = labeler.network.encoder(square)
        logits = labeler.network.classify(tokens).logits
    look = F.adaptive_max_pool2d(tokens.patches, 1)
    return Seen(logits[0].float().sigmoid().cpu().numpy(), look.flatten().half().cpu().numpy())


def examined(
    labeler: Labeler, photo: DecodedImage, name: str, tags: frozenset[str], *, complete: bool = True
) -> ExaminedPhoto:
    """Return what the doctor needs to know of a photo.

    Args:
        labeler: the model.
        photo: decoded.
        name: of the photo.
        tags: canonical class names, and words that were not understood.
        complete: whether classes that are not tagged are known to be absent.
    """
    scores, look = seen(labeler, photo.pixels)
    return ExaminedPhoto(
        name=name,
        tags=tags,
        scores=scores,
        look=look,
        complete=complete,
        fingerprint=fingerprint(photo.pixels),
        brightness=float(photo.pixels.mean()) / 255,
        size=photo.original_size,
    )
