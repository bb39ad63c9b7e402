"""Items of a job: found and judged."""

import math
from typing import Annotated

from fastapi import APIRouter, Query

from toco.jobs.item_index import ItemQuery
from toco.jobs.job import Decision, ItemState
from toco.jobs.records import MEASURES, Measure
from toco.model.errors import TocoError
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import DecisionChange, ItemId, ItemPageView, ItemView, JobId
from toco.service.api.state import State

router = APIRouter(prefix="/v1/jobs/{job}/items", tags=["items"])

Share = Annotated[float | None, Query(ge=0, le=1)]


@router.get("", responses=problems(404), summary="Find items")
def find_items(
    state: State,
    _: Reader,
    job: JobId,
    item_state: Annotated[ItemState | None, Query(alias="state")] = None,
    tag: Annotated[str | None, Query(max_length=512, description="A class name, or a synonym of one.")] = None,
    decision: Annotated[Decision | None, Query()] = None,
    undecided: Annotated[bool, Query(description="Only items without a decision.")] = False,
    min_ignore_ratio: Share = None,
    max_ignore_ratio: Share = None,
    min_area_ratio: Share = None,
    max_area_ratio: Share = None,
    min_score: Share = None,
    max_score: Share = None,
    min_doubt: Share = None,
    max_doubt: Share = None,
    open_tags: Annotated[bool, Query(description="Only items with a word that is not understood.")] = False,
    empty_tags: Annotated[bool, Query(description="Only items whose mask lacks a tagged class.")] = False,
    order: Annotated[Measure, Query(description="Another order than `index` leaves unlabelled items out.")] = "index",
    descending: Annotated[bool, Query(description="Highest first.")] = False,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> ItemPageView:
    """Find items by state, tag, decision and figures, a page at a time.

    `order=doubt&descending=true` puts the labels first that deserve a look.
    """
    limits: dict[Measure, tuple[float | None, float | None]] = {
        "ignore_ratio": (min_ignore_ratio, max_ignore_ratio),
        "area_ratio": (min_area_ratio, max_area_ratio),
        "score": (min_score, max_score),
        "doubt": (min_doubt, max_doubt),
    }
    query = ItemQuery(
        state=item_state,
        tag=_canonical(state, job, tag),
        decision=decision,
        undecided=undecided,
        ranges=_counted(open_tags=open_tags, empty_tags=empty_tags)
        | {
            measure: (low or 0.0, 1.0 if high is None else high)
            for measure, (low, high) in limits.items()
            if low is not None or high is not None
        },
        order=order,
        descending=descending,
    )
    return ItemPageView.of(state.index.find(job, query, cursor=cursor, limit=limit))


@router.get("/{item}", responses=problems(404), summary="An item's state, figures and artifacts")
def get_item(state: State, _: Reader, job: JobId, item: ItemId) -> ItemView:
    """Show an item."""
    return ItemView.of(state.records.item(job, item))


@router.patch("/{item}", responses=problems(404), summary="Accept or reject a label")
def decide(state: State, _: Labeller, job: JobId, item: ItemId, change: DecisionChange) -> ItemView:
    """Store a person's verdict; exports can be limited by it."""
    state.records.decide(job, item, change.decision)
    return ItemView.of(state.records.item(job, item))


def _counted(**wanted: bool) -> dict[Measure, tuple[float, float]]:
    """Return the ranges that keep the items that have any of what is counted."""
    return {measure: (1.0, math.inf) for measure in MEASURES if wanted.get(measure)}


def _canonical(state: State, job: str, tag: str | None) -> str | None:
    """Return the class name that a tag or synonym means; an unknown tag finds nothing."""
    if not tag:
        return None
    try:
        vocabulary = state.catalogue.vocabulary_of(state.records.job(job))
        return vocabulary.names[vocabulary.channel(tag)]
    except TocoError as error:
        if error.code == "job_not_found":
            raise
        return tag
