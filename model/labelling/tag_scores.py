"""What a model's classifier believes of a photo's tags, and what a look at the photo says, without labelling it."""

import numpy as np
import numpy.typing as npt
import torch

from toco.model.labelling.labeler import Labeler
from toco.model.method.cams import resize
from toco.model.method.network import normalise_images
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import DecodedImage
from toco.model.photos.tag_doctor import ExaminedPhoto


@torch.inference_mode()
def tag_scores(labeler: Labeler, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the classifier's belief (C,) float32 in 0..1 in each of the model's classes.

    Args:
        labeler: the model.
        pixels: (H, W, 3) uint8 RGB.
    """
    spec, place = labeler.spec, labeler.device
    image = torch.from_numpy(np.ascontiguousarray(pixels)).to(place.device).permute(2, 0, 1)[None]
    square = resize(normalise_images(image, spec.mean, spec.std), (spec.input_size,) * 2)
    with torch.autocast(place.device.type, dtype=place.dtype, enabled=place.dtype is not None):
        logits = labeler.network.classify(labeler.network.encoder(square)).logits
    return logits[0].float().sigmoid().cpu().numpy()


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
    return ExaminedPhoto(
        name=name,
        tags=tags,
        scores=tag_scores(labeler, photo.pixels),
        complete=complete,
        fingerprint=fingerprint(photo.pixels),
        brightness=float(photo.pixels.mean()) / 255,
        size=photo.original_size,
    )
