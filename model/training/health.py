"""A report on the training photos before any hour is spent on them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from toco.model.errors import TocoError
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import probe_image
from toco.model.photos.tags import TagTable
from toco.model.training.config import SourceConfig, TrainConfig
from toco.model.training.data import TrainingPhoto, source_tags

FEW_PHOTOS = 50  # classes with fewer are reported; they rarely give usable maps


@dataclass(slots=True)
class HealthReport:
    """What is worth knowing before training.

    Attributes:
        photos: how many can be trained on.
        incomplete: how many of them leave the presence of some class unknown.
        photos_a_class: tagged photos by class name, in the vocabulary's order.
        few: classes with under 50 photos.
        never_absent: classes that no photo is known not to show; they cannot be told from the rest.
        unreadable: photo path to reason.
        unknown_tags: tags outside the vocabulary, with counts.
    """

    photos: int = 0
    incomplete: int = 0
    photos_a_class: dict[str, int] = field(default_factory=dict)
    few: tuple[str, ...] = ()
    never_absent: tuple[str, ...] = ()
    unreadable: dict[str, str] = field(default_factory=dict)
    unknown_tags: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return the report as lines for people."""
        lines = [f"{self.photos} photos, {self.incomplete} of them tagged incompletely"]
        lines.append("photos a class: " + ", ".join(f"{name} {count}" for name, count in self.photos_a_class.items()))
        if self.few:
            lines.append(f"under {FEW_PHOTOS} photos: {', '.join(self.few)}")
        if self.never_absent:
            lines.append(f"no photo is known not to show: {', '.join(self.never_absent)}; add photos without them")
        if self.unknown_tags:
            shown = ", ".join(f"{tag} ({count})" for tag, count in self.unknown_tags.most_common(20))
            lines.append(f"tags outside the vocabulary, not trained: {shown}")
        lines += [f"left out, {reason}" for reason in self.unreadable.values()]
        return lines


def check_health(
    photos: tuple[TrainingPhoto, ...],
    config: TrainConfig,
    vocabulary: Vocabulary,
    *,
    on_photo: Callable[[], None] = lambda: None,
) -> tuple[tuple[TrainingPhoto, ...], HealthReport]:
    """Open every photo's header and count tags.

    Args:
        photos: as from `data.training_photos`.
        config: its sources are searched for unknown tags.
        vocabulary: of the model.
        on_photo: called after each photo.

    Returns:
        The photos that can be read, and the report.
    """
    report = HealthReport()
    readable = []
    for photo in photos:
        try:
            probe_image(photo.path)
            readable.append(photo)
        except TocoError as error:
            report.unreadable[str(photo.path)] = str(error)
        on_photo()
    report.photos = len(readable)
    report.incomplete = sum(not bool(photo.known.all()) for photo in readable)
    counts = [int(sum(float(photo.tags[channel]) for photo in readable)) for channel in range(len(vocabulary))]
    report.photos_a_class = dict(zip(vocabulary.names, counts, strict=True))
    report.few = tuple(name for name, count in report.photos_a_class.items() if count < FEW_PHOTOS)
    report.never_absent = tuple(
        name
        for channel, name in enumerate(vocabulary.names)
        if not any(bool(photo.known[channel]) and not bool(photo.tags[channel]) for photo in readable)
    )
    for source in config.sources:
        report.unknown_tags += _unknown_tags(source, vocabulary)
    return tuple(readable), report


def _unknown_tags(source: SourceConfig, vocabulary: Vocabulary) -> Counter[str]:
    table: TagTable = source_tags(source)
    return Counter(tag for entry in table.values() for tag in entry.tags if tag not in vocabulary)
