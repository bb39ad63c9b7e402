"""Labels made again in place: with other thresholds or options, or with other tags."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from toco.jobs.api_keys import ApiKey
from toco.jobs.job import ItemRecord, JobOptions
from toco.jobs.revising import begin_revising
from toco.jobs.revision import How, Revising
from toco.jobs.revisions import RevisionOutdated
from toco.jobs.store import relearning_key
from toco.model.errors import InvalidOption
from toco.model.options import PRESETS
from toco.model.photos.tag_check import check_tags, settle_unknown
from toco.service.api.auth import Labeller, use_quota
from toco.service.api.problem import problems
from toco.service.api.routes.revisions import IfMatch, expected_revision, name_of
from toco.service.api.schemas import ItemId, JobId, JobView
from toco.service.api.state import AppState, State
from toco.service.api.submission import MAX_TAGS, JobRequest, Submission

router = APIRouter(prefix="/v1/jobs/{job}/items/{item}", tags=["revisions"])

Tags = Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=MAX_TAGS)]


class NewSettings(BaseModel):
    """How to label an item again."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"options": {"thresholds": {"high": 0.6, "low": 0.3}}}]}
    )

    preset: str = Field("", description=f"Empty: as the job's. {', '.join(PRESETS)}.")
    options: dict[str, object] = Field({}, description="Changes to the preset.")


class NewTags(BaseModel):
    """What an item's photo shows."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tags": ["cat", "person"]}]})

    tags: Tags = Field(description="All of them, any words; empty: none of the classes.")


_RESPONSES = problems(404, 409, 412)


@router.post(
    "/revisions", status_code=202, responses=_RESPONSES, summary="Label an item again with other settings, in place"
)
async def revise_settings(
    request: Request,
    state: State,
    caller: Labeller,
    job: JobId,
    item: ItemId,
    how: NewSettings,
    if_match: IfMatch = None,
) -> JobView:
    """Have a worker label the photo again; its label becomes the item's next revision.

    The answer is the job that does it, which is in no list. If somebody else changes the item meanwhile, the new label
    is a revision all the same, but does not become the current one.
    """
    return await state.threads.store.run(
        _revise, state, caller, (job, item), "thresholds", how, None, if_match, request.state.request_id
    )


@router.patch("/tags", status_code=202, responses=_RESPONSES, summary="Change an item's tags, and label it again")
async def change_tags(
    request: Request,
    state: State,
    caller: Labeller,
    job: JobId,
    item: ItemId,
    change: NewTags,
    if_match: IfMatch = None,
) -> JobView:
    """Have a worker label the photo with these tags; see above."""
    return await state.threads.store.run(
        _revise, state, caller, (job, item), "tags", NewSettings(), tuple(change.tags), if_match,
        request.state.request_id,
    )  # fmt: skip


def _revise(
    state: AppState,
    caller: ApiKey,
    place: tuple[str, str],
    how: How,
    settings: NewSettings,
    tags: tuple[str, ...] | None,
    if_match: str | None,
    request_id: str,
) -> JobView:
    job, record = state.records.job(place[0]), state.revisions.labelled(*place)
    expected = expected_revision(if_match)
    if expected is not None and expected != record.revision.number:
        raise RevisionOutdated(job.id, record.id, record.revision.number)
    before = job.options
    asked = JobRequest(
        model=before.model,
        preset=settings.preset or before.label.preset,
        options=dict(settings.options),
        outputs=before.outputs,
        unknown_tags=before.unknown_tags,
        mapping=before.mapping,
        again=job,
    )
    submission = Submission(state, caller, asked, request_id=request_id)
    words = record.tags if tags is None else tags
    if tags is not None:
        settle_unknown(before.unknown_tags, check_tags([tags], state.catalogue.vocabulary_of(job), before.mapping))
    options = before if how == "tags" else submission.options
    if record.revision.how == "learnt" and options.model_version == before.model_version:
        options = options.model_copy(update={"adjustment": relearning_key(job.id, record.revision.source)})
    _check(submission, record, words, options)
    use_quota(state, caller, 1)
    revising = Revising(job=job.id, how=how, who=name_of(caller))
    made = begin_revising(
        state.records, state.queue, [(record, words)], options, revising,
        of=job, priority="interactive", request_id=request_id,
    )  # fmt: skip
    return JobView.of(made)


def _check(submission: Submission, record: ItemRecord, tags: tuple[str, ...] | None, options: JobOptions) -> None:
    if options.outputs and "pseudo_mask" not in options.outputs:
        raise InvalidOption("The job keeps no pseudo masks.", fix="Label the photos again with that output.")
    submission.check_cost(tags, record.photo_size)
