"""What a job and an item are: the values behind the records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from toco.jobs.learning import Learning, LearntWords
from toco.jobs.migrations import SCHEMA
from toco.jobs.revision import RevisedItem, Revising, Revision
from toco.jobs.transitions import ITEM_STATES
from toco.model.errors import TocoError
from toco.model.formats.artifacts import Output
from toco.model.options import LabelOptions
from toco.model.photos.classes import ClassName, Vocabulary
from toco.model.photos.tag_check import TagCheck, UnknownTags
from toco.model.photos.understanding import UnderstoodTag

Priority = Literal["interactive", "batch"]
Decision = Literal["accept", "reject"]
ItemState = Literal["queued", "running", "done", "failed", "cancelled"]
JobState = Literal["queued", "learning", "running", "succeeded", "partly_failed", "failed", "cancelled"]
DEFAULT_WORKSPACE = "default"  # of keys that name none, and of everybody while keys are off
EMPTY_TAG = "empty_tag:"
"""Begins the fields of a job's hash that count, by class, the photos whose mask does not show it."""

_CLASSES = TypeAdapter(tuple[ClassName, ...])
FINAL_JOB_STATES = frozenset({"succeeded", "partly_failed", "failed", "cancelled"})


def _renamed(policy: object) -> object:
    """Return what a policy is called now; what version 0.1 called `ignore` made background of what it ignored."""
    return {"error": "refuse", "ignore": "open"}.get(str(policy), policy)


class JobOptions(BaseModel):
    """What was asked for, frozen when the job is submitted.

    Attributes:
        model: name of the model.
        model_version: name and weights digest, as in its spec.
        label: every labelling setting.
        outputs: artifacts wanted; empty means the usual ones.
        unknown_tags: what is done about words that are not understood.
        mapping: the user's own words, folded, to those that they stand for; see `mapping.fold_mapping`.
        adjustment: key of what was learnt again from corrected labels, or empty.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    model_version: str
    label: LabelOptions
    outputs: tuple[Output, ...] = ()
    unknown_tags: Annotated[UnknownTags, BeforeValidator(_renamed)] = "learn"
    mapping: dict[str, str] = {}
    adjustment: str = ""


class ItemError(BaseModel):
    """Why an item failed.

    Attributes:
        code: stable, machine-readable.
        kind: family of the error (see `toco.model.errors.Kind`).
        detail: one sentence that names the offending value.
        fix: what to do about it.
    """

    code: str
    kind: str
    detail: str
    fix: str = ""

    @classmethod
    def of(cls, error: TocoError) -> "ItemError":
        """Describe a typed error."""
        return cls(code=error.code, kind=error.kind, detail=error.detail, fix=error.fix)


POISON = ItemError(
    code="poison_image",
    kind="internal",
    detail="The worker process ended at every attempt to label this image.",
    fix="Look at the image and at the worker's log, then retry the job.",
)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An image that a job is made of.

    Attributes:
        name: as the user calls it.
        image_key: where its bytes are in the object store.
        digest: hex SHA-256 of its bytes, empty where they were not read.
        size: in bytes.
        format: what its header says that it is, one of `images.PHOTO_FORMATS`; empty where it was not read.
        width, height: in pixels by its header, 0 where it was not read.
        tags: as the user wrote them; None means that the classifier shall find them.
        part: of the data set that its table names, such as `val`, or empty.
        masks_key: where the masks without classes are that are merged into its label, or empty.
        error: why it was refused before any work, or None.
        revises: the item of another job whose revision its label becomes.
    """

    name: str
    image_key: str
    digest: str = ""
    size: int = 0
    format: str = ""
    width: int = 0
    height: int = 0
    tags: tuple[str, ...] | None = None
    part: str = ""
    masks_key: str = ""
    error: ItemError | None = None
    revises: RevisedItem | None = None

    def to_hash(self) -> dict[str, str | int]:
        """Return what its Redis hash begins with. Refused for good is one of which there is nothing to try again."""
        fields: dict[str, str | int] = {
            "schema": SCHEMA,
            "name": self.name,
            "state": "failed" if self.error else "queued",
            "image_key": self.image_key,
            "digest": self.digest,
            "size": self.size,
            "format": self.format,
            "width": self.width,
            "height": self.height,
            "tags": json.dumps(self.tags) if self.tags is not None else "",
            "part": self.part,
            "masks_key": self.masks_key,
            "attempts": 0,
            "error": self.error.model_dump_json() if self.error else "",
            "rejected": int(self.error is not None and not self.image_key),
        }
        return fields | ({"revises": self.revises.model_dump_json()} if self.revises else {})


class Summary(BaseModel):
    """The figures of a labelled item that lists show, sort and filter by.

    Attributes:
        tags: canonical class names.
        tag_source: `user` or `model`.
        words: each tag as written, as understood, and why.
        open_tags: words that were not understood; what they may own is open.
        empty_tags: tagged classes that the pseudo mask does not show.
        classes: a row a tag, as `Label.class_report` gives it.
        ignore_ratio: share (0..1) of the pixels left open.
        area_ratio: share (0..1) of the pixels given to any tagged class.
        score: lowest mean CAM score (0..1) of the tags.
        doubt: 0..1, how much the label deserves a look; see `ItemResult.doubt`.
        fingerprint: of what the photo looks like; empty in records of older versions.
        width, height: of the photo in pixels, upright.
        artifacts: name to size in bytes.
        timings: seconds a stage.
    """

    tags: tuple[str, ...]
    tag_source: Literal["user", "model"]
    words: tuple[UnderstoodTag, ...] = ()
    open_tags: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("open_tags", "unknown_tags"))] = ()
    empty_tags: tuple[str, ...] = ()
    classes: tuple[dict[str, Any], ...] = ()
    ignore_ratio: Annotated[float, Field(ge=0, le=1)]
    area_ratio: Annotated[float, Field(ge=0, le=1)]
    score: Annotated[float, Field(ge=0, le=1)]
    doubt: Annotated[float, Field(ge=0, le=1)]
    fingerprint: str = ""
    width: int
    height: int
    artifacts: dict[str, int] = {}
    timings: dict[str, float] = {}

    def indexed(self) -> list[str | float]:
        """Return, in pairs, what the item is found, sorted and counted by; see `transitions`."""
        measures = {
            "doubt": self.doubt,
            "ignore_ratio": self.ignore_ratio,
            "area_ratio": self.area_ratio,
            "score": self.score,
            "open_tags": len(self.open_tags),
            "empty_tags": len(self.empty_tags),
        }
        pairs: dict[str, float] = {f"order:{measure}": value for measure, value in measures.items()}
        pairs |= {f"tag:{tag}": 1 for tag in self.tags}
        pairs |= {f"count:{EMPTY_TAG}{tag}": 1 for tag in self.empty_tags}
        return [part for pair in pairs.items() for part in pair]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item as it stands. Times are seconds since 1970.

    Attributes:
        tags: as the user wrote them, or wrote them later; None means that the classifier found them.
        summary: of the current revision.
        revision: the current one.
        latest: number of the newest one.
        masks_key: where the masks without classes are that are merged into its label, or empty.
        revises: the item of another job whose revision its label becomes.
    """

    id: str
    job: str
    name: str
    state: ItemState
    image_key: str
    digest: str
    size: int
    format: str
    width: int
    height: int
    tags: tuple[str, ...] | None
    attempts: int
    error: ItemError | None
    decision: Decision | None
    summary: Summary | None
    started_at: float | None
    finished_at: float | None
    revision: Revision = field(default_factory=Revision)
    latest: int = 0
    part: str = ""
    masks_key: str = ""
    revises: RevisedItem | None = None

    @property
    def is_decided(self) -> bool:
        """Whether a person has judged the current label, or made it."""
        return self.decision is not None or self.revision.by_person

    @property
    def photo_size(self) -> tuple[int, int]:
        """(H, W) of the photo in pixels: upright once it is labelled, by its header before."""
        known = self.summary or self
        return known.height, known.width

    def key_of(self, name: str) -> str:
        """Return where an artifact of the current label is stored."""
        return self.revision.key_of(self.job, self.id, name)

    @classmethod
    def from_hash(cls, job: str, item: str, found: Mapping[str, str]) -> "ItemRecord":
        """Read an item from its Redis hash."""
        return cls(
            id=item,
            job=job,
            name=found["name"],
            state=found["state"],  # type: ignore[arg-type] # written by the scripts only
            image_key=found["image_key"],
            digest=found["digest"],
            size=int(found["size"]),
            format=found.get("format", ""),  # of photos labelled in place, and those sent to older versions, unknown
            width=int(found["width"]),
            height=int(found["height"]),
            tags=tuple(json.loads(found["tags"])) if found["tags"] else None,
            attempts=int(found["attempts"]),
            error=ItemError.model_validate_json(found["error"]) if found.get("error") else None,
            decision=found.get("decision") or None,  # type: ignore[arg-type] # one of the two, or empty
            summary=Summary.model_validate_json(found["summary"]) if found.get("summary") else None,
            started_at=_time(found.get("started_at")),
            finished_at=_time(found.get("finished_at")),
            revision=Revision.of_item(found),
            latest=int(found.get("latest") or 0),
            part=found.get("part", ""),  # older records have none
            masks_key=found.get("masks_key", ""),  # likewise
            revises=RevisedItem.model_validate_json(found["revises"]) if found.get("revises") else None,
        )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stands. Times are seconds since 1970.

    Attributes:
        revision: rises with every change.
        key: id of the API key that made it, or empty.
        workspace: to which that key belongs; keys of others do not see the job.
        request_id: of the request that made it.
        counts: items by state.
        rate: items a second since work began, 0 before.
        webhook_error: why its webhook was not delivered, or empty.
        tags: what the tags of all its photos mean to the model, with what was learnt.
        classes: of its labels; empty for jobs of older versions, whose model says.
        learning: how far the learning of words is that no model knows; None of a job that learns none.
        not_learnt: why it learns none although that was asked for, or empty.
        empty_tags: tagged classes that masks do not show, by number of photos.
        revising: what for, where its labels become revisions of another job's; such a job is in no list.
    """

    id: str
    name: str
    state: JobState
    priority: Priority
    options: JobOptions
    key: str
    request_id: str
    webhook: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    cancel_requested: bool
    revision: int
    total: int
    rate: float
    counts: dict[str, int] = field(default_factory=dict)
    webhook_error: str = ""
    workspace: str = DEFAULT_WORKSPACE
    tags: TagCheck = field(default_factory=TagCheck)
    classes: tuple[ClassName, ...] = ()
    learning: Learning | None = None
    not_learnt: str = ""
    empty_tags: dict[str, int] = field(default_factory=dict)
    revising: Revising | None = None

    @property
    def is_final(self) -> bool:
        """Whether no item will change any more by itself."""
        return self.state in FINAL_JOB_STATES

    @property
    def learns(self) -> bool:
        """Whether words are learnt before items may be labelled."""
        return self.learning is not None and not self.learning.is_over

    @property
    def learnt(self) -> LearntWords | None:
        """The published words that it is labelled with beside its model's own, if any."""
        found = self.learning.learnt if self.learning else None
        return found if found and found.name else None

    @property
    def model_version(self) -> str:
        """What its labels are made with: its model's version, or that of the words learnt beside it."""
        return self.learnt.version if self.learnt else self.options.model_version

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the present rate, or None while there is none."""
        left = self.counts["queued"] + self.counts["running"]
        if left == 0:
            return 0.0
        return left / self.rate if self.rate > 0 else None

    @classmethod
    def from_hash(cls, job: str, found: Mapping[str, str]) -> "JobRecord":
        """Read a job from its Redis hash."""
        begun = _time(found.get("rate_from"))
        seconds = (float(found.get("progress_at") or 0) - begun) if begun else 0.0
        return cls(
            id=job,
            name=found["name"],
            state=found["state"],  # type: ignore[arg-type] # written by the scripts only
            priority=found["priority"],  # type: ignore[arg-type] # validated when the job was made
            options=JobOptions.model_validate_json(found["options"]),
            key=found["key"],
            request_id=found["request_id"],
            webhook=found["webhook"],
            created_at=float(found["created_at"]),
            started_at=_time(found.get("started_at")),
            finished_at=_time(found.get("finished_at")),
            cancel_requested=found["cancel_requested"] == "1",
            revision=int(found["revision"]),
            total=int(found["total"]),
            rate=int(found.get("rate_count") or 0) / seconds if seconds > 0 else 0.0,
            counts={state: int(found[state]) for state in ITEM_STATES},
            webhook_error=found.get("webhook_error", ""),
            workspace=found.get("workspace", DEFAULT_WORKSPACE),
            tags=TagCheck.model_validate_json(found["tags"]) if found.get("tags") else TagCheck(),
            revising=Revising.model_validate_json(found["revising"]) if found.get("revising") else None,
            classes=_CLASSES.validate_json(found["classes"]) if found.get("classes") else (),
            learning=Learning.from_hash(found),
            not_learnt=found.get("learning_error", ""),
            empty_tags={
                name.removeprefix(EMPTY_TAG): int(count) for name, count in found.items() if name.startswith(EMPTY_TAG)
            },
        )


def classes_text(vocabulary: Vocabulary) -> str:
    """Return classes as a job's hash holds them."""
    return _CLASSES.dump_json(vocabulary.classes).decode()


def _time(value: str | None) -> float | None:
    return float(value) if value else None
