"""What the API answers with, and the values of its requests."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from toco.jobs.data_sets import Decisions
from toco.jobs.exports import ExportRecord, ExportRequest, ExportState
from toco.jobs.ids import ID_PATTERN, ITEM_PATTERN
from toco.jobs.item_index import ItemPage
from toco.jobs.job import (
    Decision,
    ItemError,
    ItemRecord,
    ItemState,
    JobOptions,
    JobRecord,
    JobState,
    Priority,
    Summary,
)
from toco.jobs.learning import notes
from toco.jobs.revision import How
from toco.jobs.store import media_type
from toco.model.formats.artifacts import Output
from toco.model.formats.export import NotExported
from toco.model.options import PresetName
from toco.model.photos.assignment import Untagged
from toco.model.photos.pages import Pages
from toco.model.photos.tables.reading import TableReading
from toco.model.photos.tag_check import TagCheck, UnknownTags
from toco.service.api.model_views import ClassView, LearningView

JobId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a job.", examples=["01k9z3v6m3q2f1x8a7b5c4d2e0"])]
ItemId = Annotated[str, Path(pattern=ITEM_PATTERN, description="Id of an item: six digits.", examples=["000000"])]
Word = Annotated[str, Field(max_length=512)]


def moment(seconds: float) -> datetime:
    """Return when that was, as the API tells it; seconds count from 1970."""
    return datetime.fromtimestamp(seconds, UTC)


class StoredImage(BaseModel):
    """An image that is in the object store already."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=1024, description="Key under the input prefix.")]
    name: Annotated[str, Field(max_length=512, description="As it is called in exports; empty: the key.")] = ""
    tags: list[Annotated[str, Field(max_length=512)]] | None = Field(None, description="null: the classifier's own.")
    split: Annotated[str, Field(max_length=64, description="Part of the data set, such as train, val or test.")] = ""


class JobBody(BaseModel):
    """A job of images that are in the object store, or in a finished resumable upload."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": [{"key": "inputs/farm/1.jpg", "tags": ["cow"]}], "preset": "fast"}]},
    )

    items: list[StoredImage] = []
    upload: Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}$|^$")] = Field("", description="A finished upload's id.")
    masks: Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}$|^$")] = Field(
        "", description="A finished upload of masks without classes (see the form's `masks`), merged into the labels."
    )
    name: Annotated[str, Field(max_length=200)] = ""
    model: str = ""
    preset: str = "balanced"
    options: dict[str, Any] = Field({}, description="Changes to the preset.")
    outputs: list[Output] = []
    unknown_tags: UnknownTags = "learn"
    mapping: dict[str, str] | str = Field({}, description="Own words and their classes, or a kept mapping's name.")
    untagged: Untagged | None = Field(
        None,
        description="Photos of the upload that nothing lists. null: the classifier tags all photos if no tags came at "
        "all; if some did, the others fail.",
    )
    pages: Pages = Field(
        "first", description="Of a TIFF of many pages in the upload, label the first or each; of `items`, the first."
    )
    learn_as: Annotated[str, Field(max_length=64)] = Field(
        "", description="Name of the model of words that are learnt."
    )
    priority: Priority = "batch"
    webhook: Annotated[str, Field(max_length=2048)] = ""
    webhook_secret: Annotated[str, Field(max_length=256)] = ""


class CheckRequest(BaseModel):
    """Tags to be looked at."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"tags": [["kitty", "mug"], ["dogs"]], "mapping": {"mug": ""}}]}
    )

    tags: list[Word | list[Word]] = Field(description="The tags of each photo; a word alone is a photo with one tag.")
    model: str = Field("", description="Empty: the default.")
    mapping: dict[str, str] | str = Field({}, description="Own words and their classes, or a kept mapping's name.")
    unknown_tags: UnknownTags = Field("learn", description="With `refuse` words that are not understood are an error.")


class JobView(BaseModel):
    """A job as it stands."""

    id: str
    name: str
    state: JobState
    priority: Priority
    workspace: str = Field(description="Whose keys see it.")
    model: str
    model_version: str
    preset: PresetName
    outputs: list[Output] = Field(description="Artifacts asked for; empty means all that the preset makes.")
    unknown_tags: UnknownTags
    open_photos: int = Field(description="Photos with a word that is not understood: what it may own is left open.")
    learning: LearningView | None = Field(description="Of words that no model knows; null if the job learns none.")
    empty_tags: dict[str, int] = Field(description="Tagged classes that masks do not show, by number of photos.")
    notes: list[str] = Field(description="What was done about words that are not understood.")
    total: int = Field(description="Items in all.")
    counts: dict[str, int] = Field(description="Items by state.")
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    images_per_second: float = Field(description="Rate since work began; 0 before.")
    seconds_left: float | None = Field(description="Time to the end at this rate; null while unknown.")
    revision: int = Field(description="Rises with every change.")
    revises: str = Field("", description="Job whose items get its labels as revisions; then it is in no list.")
    webhook: str
    webhook_error: str = Field(description="Why its webhook was not delivered; empty if it was, or is still due.")
    links: dict[str, str]

    @classmethod
    def of(cls, job: JobRecord) -> "JobView":
        """Show a record."""
        here = f"/v1/jobs/{job.id}"
        return cls(
            id=job.id,
            name=job.name,
            state=job.state,
            priority=job.priority,
            workspace=job.workspace,
            model=job.options.model,
            model_version=job.model_version,
            preset=job.options.label.preset,
            outputs=list(job.options.outputs),
            unknown_tags=job.options.unknown_tags,
            open_photos=job.tags.open_photos,
            empty_tags=job.empty_tags,
            learning=None if job.learning is None else LearningView.of(job.learning, job.classes),
            notes=list(notes(job.options.unknown_tags, job.tags, job.learning, job.not_learnt, job.classes)),
            total=job.total,
            counts=job.counts,
            cancel_requested=job.cancel_requested,
            created_at=moment(job.created_at),
            started_at=moment(job.started_at) if job.started_at else None,
            finished_at=moment(job.finished_at) if job.finished_at else None,
            images_per_second=round(job.rate, 4),
            seconds_left=None if job.seconds_left is None else round(job.seconds_left, 1),
            revision=job.revision,
            revises=job.revising.job if job.revising else "",
            webhook=job.webhook,
            webhook_error=job.webhook_error,
            links={"self": here, "items": f"{here}/items", "events": f"{here}/events", "exports": f"{here}/exports"},
        )


class TableView(BaseModel):
    """A table of tags and what was understood of it."""

    name: str
    kind: str = Field(description="What the file is, in words.")
    encoding: str = Field(description="Of its text; empty where the format leaves none open.")
    layout: str = Field(description="How it lists tags, in words.")
    image_column: str
    tag_columns: list[str] = Field(description="Columns of tags, or of the classes.")
    kept_columns: list[str] = Field(description="Further columns that are used.")
    ignored_columns: list[str]
    rows: int
    photos: int
    warnings: list[str]

    @classmethod
    def of(cls, reading: TableReading) -> "TableView":
        """Show a table."""
        return cls(**reading.as_json())


class MadeJob(JobView):
    """A job as it was made."""

    tables: list[TableView] = Field([], description="The tables of tags that were read.")
    notes: list[str] = Field([], description="Rows and photos that do not fit each other, and files left out.")

    @classmethod
    def of_sent(cls, job: JobRecord, tables: Iterable[TableReading], notes: Iterable[str]) -> "MadeJob":
        """Show a record and what was understood of the request."""
        shown = [TableView.of(table) for table in tables]
        view = JobView.of(job)
        return cls(**view.model_dump(exclude={"notes"}), tables=shown, notes=[*notes, *view.notes])


class JobDetails(JobView):
    """A job with every setting that its labels are made with, and what its tags were understood as."""

    options: JobOptions
    tags: TagCheck
    classes: list[ClassView] = Field(
        description="Of its labels; empty for a job of an older version, whose model says."
    )

    @classmethod
    def of(cls, job: JobRecord) -> "JobDetails":
        """Show a record."""
        return cls(
            **JobView.of(job).model_dump(),
            options=job.options,
            tags=job.tags,
            classes=list(map(ClassView.of, job.classes)),
        )


class JobPage(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobView]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class ArtifactView(BaseModel):
    """A file that was made of an item."""

    name: str
    media_type: str
    size: int = Field(description="Bytes.")
    url: str


class CurrentRevision(BaseModel):
    """Which state of its label an item shows."""

    number: int = Field(description="0 is the worker's own label.")
    how: How
    latest: int = Field(description="Number of the newest; larger than `number` after going back.")


class ItemView(BaseModel):
    """An item as it stands."""

    id: str
    job: str
    name: str
    state: ItemState
    tags: list[str] | None = Field(description="As they were sent; null lets the classifier find them.")
    attempts: int
    error: ItemError | None
    decision: Decision | None = Field(description="A person's verdict.")
    digest: str = Field(description="SHA-256 of the image's bytes, in hex.")
    size: int = Field(description="Bytes of the image.")
    width: int
    height: int
    summary: Summary | None = Field(description="Figures of the label; null until it is made.")
    revision: CurrentRevision | None = Field(description="Which state of the label this is; null until it is made.")
    image_url: str
    artifacts: list[ArtifactView]
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, item: ItemRecord) -> "ItemView":
        """Show a record."""
        here = f"/v1/jobs/{item.job}/items/{item.id}"
        made = item.summary.artifacts if item.summary else {}
        return cls(
            id=item.id,
            job=item.job,
            name=item.name,
            state=item.state,
            tags=None if item.tags is None else list(item.tags),
            attempts=item.attempts,
            error=item.error,
            decision=item.decision,
            digest=item.digest,
            size=item.size,
            width=item.summary.width if item.summary else item.width,
            height=item.summary.height if item.summary else item.height,
            summary=item.summary,
            revision=CurrentRevision(number=item.revision.number, how=item.revision.how, latest=item.latest)
            if item.summary
            else None,
            image_url=f"{here}/image",
            artifacts=[
                ArtifactView(name=name, media_type=media_type(name), size=size, url=f"{here}/artifacts/{name}")
                for name, size in made.items()
            ],
            started_at=moment(item.started_at) if item.started_at else None,
            finished_at=moment(item.finished_at) if item.finished_at else None,
        )


class ItemPageView(BaseModel):
    """Items that a query finds."""

    items: list[ItemView]
    total: int = Field(description="How many there are in all pages.")
    next: str | None = Field(description="Cursor of the next page; null at the end.")

    @classmethod
    def of(cls, page: ItemPage) -> "ItemPageView":
        """Show a page."""
        return cls(items=[ItemView.of(item) for item in page.items], total=page.total, next=page.cursor)


class DecisionChange(BaseModel):
    """A person's verdict on a label."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"decision": "accept"}]})

    decision: Decision | None = Field(description="`accept`, `reject`, or null to take it back.")


class LabelView(BaseModel):
    """The answer to one labelled image."""

    job: JobView
    item: ItemView


class RetryView(BaseModel):
    """What a retry or a cancellation changed."""

    items: int = Field(description="Items whose state changed.")
    job: JobView


class ExportView(BaseModel):
    """An export as it stands."""

    id: str
    job: str
    data_set: str = Field(description="The data set that it holds, whose first job this is; empty: the job's own.")
    format: str = Field(description="Names of the formats with commas between.")
    formats: list[str] = Field(description="The formats; of several, each has a folder in the zip.")
    decisions: Decisions
    state: ExportState
    items: int = Field(description="Photos written so far.")
    total: int = Field(description="Photos in all; 0 until the work begins.")
    skipped: int = Field(description="Photos that some format lacks, because a part of them is gone or damaged.")
    open_photos: int = Field(description="Photos left out because their whole mask is open; see `options.open_photos`.")
    left_out: list[NotExported] = Field(description="The first of them, and why; `left_out.jsonl` in the zip has all.")
    size: int = Field(description="Bytes of the finished zip.")
    error: ItemError | None
    created_at: datetime
    request: ExportRequest
    download_url: str | None = Field(description="Where the zip is, once it is done.")

    @classmethod
    def of(cls, export: ExportRecord) -> "ExportView":
        """Show a record."""
        here = f"/v1/jobs/{export.job}/exports/{export.id}"
        return cls(
            id=export.id,
            job=export.job,
            data_set=export.data_set,
            format=",".join(export.request.formats),
            formats=list(export.request.formats),
            decisions=export.request.decisions,
            state=export.state,
            items=export.items,
            total=export.total,
            skipped=export.skipped,
            open_photos=export.open_photos,
            left_out=list(export.left_out),
            size=export.size,
            error=export.error,
            created_at=moment(export.created_at),
            request=export.request,
            download_url=f"{here}/download" if export.state == "done" else None,
        )
