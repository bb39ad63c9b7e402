"""`result.json`: everything about one labelled photo but its pixels."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, Field, JsonValue

from toco.model.method.label import Label, TagSource
from toco.model.method.mask_merge import MaskCounts
from toco.model.options import Frozen, LabelOptions
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.understanding import UnderstoodTag
from toco.model.spec import ModelSpec

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Size(Frozen):
    """Height and width in pixels."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]


WEAK_DOUBT: Final = 0.51
"""Of a photo with a weak tag: it is among the doubtful ones, those of more than one half, wherever they are counted."""


class ClassResult(Frozen):
    """What became of one tag.

    Attributes:
        name: canonical class name.
        index: its value in the masks.
        area: pixels of the pseudo mask.
        area_ratio: the same as a share of the photo.
        score: mean CAM value inside those pixels; 0 where there are none.
        peak: highest CAM value.
        tag_probability: the classifier's own belief in the tag.
    """

    name: str
    index: Annotated[int, Field(ge=1, le=254)]
    area: Annotated[int, Field(ge=0)]
    area_ratio: Share
    score: Share
    peak: Share
    tag_probability: Share


class ItemResult(Frozen):
    """The result of one photo.

    Attributes:
        format: version of this layout.
        tags: canonical class names in channel order.
        tag_source: `user`, or `model` where the classifier chose the tags of an untagged photo.
        words: each tag as the user wrote it, as it was understood, and why; empty where the classifier chose.
        open_tags: words that were not understood; what they may own is open (255).
        empty_tags: tagged classes that the pseudo mask does not show.
        model_version: name and digest of the weights.
        options: all settings that it was labelled with (`CompleteOptions` as JSON). In a run with learnt words, photos
            of these have others than photos of what the model knows by itself.
        options_digest: changes with any setting of the run; the same for all its photos.
        size: of the photo, upright, and of its masks.
        working_size: at which the CAMs were refined and are stored.
        photo_format: of the photo's file, one of `images.PHOTO_FORMATS`; empty where it is not known.
        turned: EXIF says that the file's own pixels are turned or mirrored.
        pictures: how many the file holds (frames, pages); the first is labelled.
        fingerprint: of what the photo looks like (`photos.fingerprint`); empty in results of older versions.
        capped: the photo was shrunk for refinement and the result mapped back to its own size.
        ignore_ratio: share of the pixels that the pseudo mask leaves open.
        classes: a row a tag, in the order of `tags`.
        timings: seconds a stage.
        weak_tags: tags that were learnt weakly: what stands beside them may be taken for them.
        masks: masks from elsewhere that were merged in; None where there were none.
        by_person: the mask was drawn or corrected by a person; scores are 1 then, as nobody but that person can say.
    """

    format: Literal[1] = 1
    tags: tuple[str, ...]
    tag_source: TagSource
    words: tuple[UnderstoodTag, ...] = ()
    open_tags: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("open_tags", "unknown_tags"))] = ()
    empty_tags: tuple[str, ...] = ()
    model_version: str
    options: dict[str, JsonValue] = {}
    options_digest: str = ""
    size: Size
    working_size: Size
    photo_format: str = ""
    turned: bool = False
    pictures: int = 1
    fingerprint: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    capped: bool
    ignore_ratio: Share
    classes: tuple[ClassResult, ...]
    timings: dict[str, float] = {}
    weak_tags: tuple[str, ...] = ()
    masks: MaskCounts | None = None
    by_person: bool = False

    @property
    def score(self) -> float:
        """Mean score (0..1) of the tags that the pseudo mask shows; 0 if it shows none."""
        shown = [entry.score for entry in self.classes if entry.area]
        return sum(shown) / len(shown) if shown else 0.0

    @property
    def doubt(self) -> float:
        """How much the label deserves a look: 0 (surely fine) to 1 (look at it first).

        A mask that a person made is not doubted. A photo with a word that was not understood is doubted in full. Else
        it is the worst of four signs: pixels that the pseudo mask leaves open, a tag whose CAM is weak where the mask
        shows it (a tag that the mask does not show at all scores 0), a tag that the classifier itself does not see,
        and a tag that was learnt weakly (a little over one half).
        """
        if self.by_person:
            return 0.0
        if self.open_tags:
            return 1.0
        if not self.classes:
            return 1.0 if self.tag_source == "model" else 0.0
        weakest = min(entry.score for entry in self.classes)
        unseen = 1.0 - min(entry.tag_probability for entry in self.classes)
        return max(self.ignore_ratio, 1.0 - weakest, unseen, WEAK_DOUBT if self.weak_tags else 0.0)

    def class_score(self, name: str) -> float | None:
        """Return the score (0..1) of a tag, or None for a class that was not among the tags."""
        return next((entry.score for entry in self.classes if entry.name == name), None)


def result_of(
    label: Label, spec: ModelSpec, asked: LabelOptions, *, timings: Mapping[str, float] | None = None
) -> ItemResult:
    """Describe a label.

    Args:
        label: the label.
        spec: of the model of the run.
        asked: what the run was asked with: one for all its photos.
        timings: seconds a stage, those outside the model included; None takes the model's alone.
    """
    (height, width), (low, narrow) = label.size, label.working_size
    rows: list[dict[str, Any]] = label.class_report()
    for row in rows:  # float32 arithmetic may end a hair outside 0..1
        for key in ("score", "peak", "tag_probability"):
            row[key] = min(max(row[key], 0.0), 1.0)
    return ItemResult(
        tags=label.tags,
        tag_source=label.tag_source,
        words=label.words,
        open_tags=label.open_tags,
        weak_tags=label.weak_tags,
        masks=label.masks,
        empty_tags=tuple(row["name"] for row in rows if not row["area"]),
        model_version=spec.version,
        options=label.options.model_dump(mode="json"),
        options_digest=spec.completed(asked).digest(),
        size=Size(height=height, width=width),
        working_size=Size(height=low, width=narrow),
        photo_format=label.photo.format,
        turned=label.photo.turned,
        pictures=label.photo.pictures,
        fingerprint=fingerprint(label.photo.pixels),
        capped=label.working_size != label.size,
        ignore_ratio=label.ignore_ratio,
        classes=tuple(ClassResult(**row) for row in rows),
        timings=dict(label.timings if timings is None else timings),
    )
