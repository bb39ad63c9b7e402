"""A job whose photos a person corrects: maps of the default model, kept in a folder, and labels made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.own_words import WORDS, job
from benchmarks.quality import ANIMALS
from toco.model.errors import TocoError
from toco.model.evaluation.breakdown import Breakdown, Rows
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.learning.adjust import Adjustment, adjusted_cams
from toco.model.method.label import Label
from toco.model.options import LabelOptions, preset_options
from toco.model.photos.classes import VOC

Mask = npt.NDArray[np.uint8]
PRESET = "fast"
CLASSES = tuple(ANIMALS.split(","))


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that can be corrected.

    Attributes:
        sample: with its truth, which is what the person draws.
        tags: class names.
        job, maps: as the labeler makes them.
    """

    sample: Sample
    tags: tuple[str, ...]
    job: PhotoJob
    maps: PhotoMaps


class CorrectedJob:
    """The photos of the validation subset in the job of `own_words`, by their true names.

    Args:
        data: folder with voc12-animals.
        cache: folder to keep maps in, or None.
    """

    def __init__(self, data: Path, cache: Path | None) -> None:
        self.labeler = Labeler.from_folder()
        self.options = preset_options(PRESET)
        paths, words, samples = job(data)
        names = dict(zip(WORDS, VOC.names, strict=True))
        first = len(paths) - len(samples)
        self.job_size = len(paths)
        self.photos = [
            self._photo(sample, tuple(names[word] for word in words[first + place]), first + place, cache)
            for place, sample in enumerate(samples)
        ]

    def label(self, photo: Photo, options: LabelOptions, adjustment: Adjustment | None = None) -> Label:
        """Label a photo from its maps."""
        cams = photo.maps.cams if adjustment is None else adjusted_cams(photo.maps, adjustment)
        maps = PhotoMaps(
            channels=photo.maps.channels,
            tag_source="user",
            tag_probabilities=photo.maps.tag_probabilities,
            cams=cams,
            segmentation=None,
            segmentation_channels=(),
            objects=None,
            tokens=photo.maps.tokens,
        )
        return self.labeler._refine(photo.job, maps, options)  # noqa: SLF001 - the second half of labelling, without the first

    def masks(self, photos: Sequence[Photo], adjustment: Adjustment | None = None) -> list[Mask]:
        """Return masks with every pixel decided, as they are judged."""
        options = judged_options(self.options, "pseudo_mask")
        return [self.label(photo, options, adjustment).pseudo_mask for photo in photos]

    def judge(self, photos: Sequence[Photo], masks: Sequence[Mask]) -> dict[str, float]:
        """Return mIoU over background and the six animals: of photos with one tag, with several, and of all."""
        breakdown = Breakdown(CLASSES)
        several = {photo.sample.name: len(photo.tags) for photo in photos}

        def predict(samples: object) -> Iterator[Mask | TocoError]:
            del samples  # in the order of the photos
            yield from (mask for photo, mask in zip(photos, masks, strict=True) if photo.tags)

        def judged(sample: Sample, truth: Rows, mask: Rows) -> None:
            breakdown.update(truth, mask, several[sample.name])

        samples = [Sample(p.sample.name, p.sample.image, p.sample.read_truth, p.tags) for p in photos]
        evaluate(samples, predict, truth_classes=VOC, model_classes=VOC, classes=CLASSES, on_judged=judged)
        return {name: group.miou or 0.0 for name, group in breakdown.report().by_tags.items()}

    def _photo(self, sample: Sample, tags: tuple[str, ...], number: int, cache: Path | None) -> Photo:
        decoded = self.labeler._decode(LabelRequest(sample.image, tags), self.options)  # noqa: SLF001 - the first half of labelling, without the second
        asked = f"{self.labeler.spec.version}-{self.labeler.spec.completed(self.options).digest()}"
        kept = cache / asked / f"{number}.npz" if cache else None
        if kept is None or not kept.exists():
            (maps,) = self.labeler._run_network([decoded], self.options)  # noqa: SLF001 - the first half of labelling, without the second
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                cams, tokens = maps.cams.astype(np.float16), np.asarray(maps.tokens)
                np.savez(kept, cams=cams, tokens=tokens, prob=maps.tag_probabilities, channels=np.array(maps.channels))
            return Photo(sample, tags, decoded, maps)
        with np.load(kept) as found:
            maps = PhotoMaps(
                channels=tuple(int(channel) for channel in found["channels"]),
                tag_source="user",
                tag_probabilities=found["prob"],
                cams=found["cams"].astype(np.float32),
                segmentation=None,
                segmentation_channels=(),
                objects=None,
                tokens=found["tokens"],
            )
        return Photo(sample, tags, decoded, maps)
