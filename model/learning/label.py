"""Labelling with learnt words, through the pipeline that labels with a model's own classes."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toco.model.crf.choice import crf_backend
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.learning.fit import word_probabilities
from toco.model.learning.learnt_model import LearntModel
from toco.model.learning.learnt_spec import InvalidLearntModel, labeler_spec, require_tags
from toco.model.learning.prior import joined
from toco.model.learning.recognise import recognise
from toco.model.learning.tokens import PhotoTokens, TokenReader
from toco.model.method.label import Label
from toco.model.options import CompleteCamOptions, LabelOptions
from toco.model.photos.classes import BACKGROUND, IGNORE
from toco.model.threads import threads as all_threads

_EPSILON = 1e-6


def word_maps(found: PhotoTokens, model: LearntModel, channels: Sequence[int]) -> Tensor:
    """Return how likely each place shows each of a photo's words.

    Args:
        found: tokens of the photo.
        model: the words.
        channels: K words of the photo, 0-based.

    Returns:
        (K, h, w) float32 in 0..1. The best word of a place gets all of the object there, the others their ratio to it.
    """
    if not channels:
        return torch.zeros(0, *found.grid)
    objects, words = recognise(found, model, channels)
    share = words / words.amax(dim=1, keepdim=True)
    return (share * objects[:, None]).T.reshape(len(channels), *found.grid)


def object_maps(found: PhotoTokens, model: LearntModel, channels: Sequence[int]) -> Tensor:
    """Return where any object is, and which of a photo's words it shows among all that were learnt.

    Args:
        found: tokens of the photo.
        model: the words.
        channels: K words of the photo, 0-based.

    Returns:
        (1 + K, h, w) float32 in 0..1, as `segmentation.object_maps` gives for a decoder.
    """
    scores = word_probabilities(found.tokens, model.weight, model.bias, model.spec.temperature)
    objects = joined([found.prior, 1.0 - scores[:, 0]])
    words = scores[:, [channel + 1 for channel in channels]] / (1.0 - scores[:, :1]).clamp_min(_EPSILON)
    return torch.cat([objects[:, None], words * objects[:, None]], dim=1).T.reshape(1 + len(channels), *found.grid)


def _at_size(maps: Tensor, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return small maps (K, h, w) at a photo's size (H, W)."""
    large: npt.NDArray[np.float32] = np.zeros((len(maps), *size), np.float32)
    for target, small in zip(large, maps.numpy(), strict=True):
        cv2.resize(small, size[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return large


class LearntLabeler(Labeler):
    """Labels photos with learnt words; used like a `Labeler`.

    Words that were not learnt stay open: what is object-like and claimed by no other word of the photo is 255, and a
    photo of such words alone is 255 all over.

    Args:
        reader: of the encoder that the words were learnt on; several learnt models may share one.
        model: the words.
        crf: name of the dense CRF; see `crf.backend.crf_backend`.
        threads: for decoding and refinement; None takes one a core.

    Raises:
        InvalidLearntModel: the words were learnt on another encoder, or at another input size.
    """

    def __init__(
        self, reader: TokenReader, model: LearntModel, *, crf: str = "auto", threads: int | None = None
    ) -> None:
        if reader.digest != model.spec.encoder:
            raise InvalidLearntModel(
                f"{model.spec.name!r} was learnt on the encoder {model.spec.encoder[:12]}..., not on "
                f"{reader.digest[:12]}...",
                fix="Give the model that it was learnt on, or learn it again.",
            )
        self.reader, self.model = reader, model
        self.spec = labeler_spec(model.spec)
        self.vocabulary = model.spec.vocabulary
        self.trusted = model.spec.usable
        self.weak = model.spec.weak
        self.device = reader.device
        self.crf = crf_backend("auto" if crf == "auto" else "lattice" if crf == "lattice" else "pydensecrf")
        self.threads = threads or all_threads()

    def _decode(self, request: LabelRequest, options: LabelOptions) -> PhotoJob:
        job = super()._decode(request, options)
        require_tags(self.spec.name, job.asked.channels)
        return job

    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:  # noqa: ARG002 - one scale, always
        return [
            self._maps(job, found)
            for job, found in zip(jobs, self.reader.read([job.photo.pixels for job in jobs]), strict=True)
        ]

    def _maps(self, job: PhotoJob, found: PhotoTokens) -> PhotoMaps:
        channels = job.asked.channels or ()
        size = job.photo.pixels.shape[:2]
        maps = _at_size(word_maps(found, self.model, channels), size)
        return PhotoMaps(
            channels=tuple(channels),
            tag_source="user",
            tag_probabilities=maps.reshape(len(channels), size[0] * size[1])
            .max(axis=1, initial=0.0)
            .astype(np.float32),
            cams=maps,
            segmentation=None,
            segmentation_channels=(),
            objects=_at_size(object_maps(found, self.model, channels), size) if job.asked.has_open else None,
            tokens=found.tokens.reshape(*found.grid, -1).numpy(),
        )

    def _refine(self, job: PhotoJob, maps: PhotoMaps, options: LabelOptions) -> Label:
        label = super()._refine(job, maps, options)
        names = [self.vocabulary.names[channel] for channel in maps.channels]
        weak = tuple(name for name in names if name in self.weak)
        read = CompleteCamOptions(size=label.options.cam.size, scales=(1.0,), flip=False, decoder_weight=0.0)
        label = dataclasses.replace(
            label, weak_tags=weak, options=label.options.model_copy(update={"cam": read, "segmentation": None})
        )
        open_words = [k for k, name in enumerate(names) if name not in self.trusted]
        if not open_words:
            return label
        mask = label.pseudo_mask
        if len(open_words) == len(names):
            mask[:] = IGNORE
            return label
        doubtful = (maps.cams.max(axis=0) > label.options.thresholds.low).astype(np.uint8)
        doubtful = cv2.resize(doubtful, label.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        mask[(mask == BACKGROUND) & (doubtful == 1)] = IGNORE
        for position in open_words:
            mask[mask == self.vocabulary.indices[maps.channels[position]]] = IGNORE
        return label
