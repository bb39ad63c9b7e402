"""Data sets: items of several jobs under one name, counted and exported as one."""

import logging
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from toco.jobs.data_sets import NAME_PATTERN, Decisions, Member, Members
from toco.jobs.exports import ExportRequest
from toco.jobs.queue import QueueUnavailable
from toco.model.errors import InvalidOption
from toco.model.formats.registry import writer_class
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import ExportView
from toco.service.api.state import AppState, State

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/data_sets", tags=["data sets"])

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of a data set.")]


class DataSetList(BaseModel):
    """The data sets that are kept."""

    data_sets: list[str]


class DataSetBody(BaseModel):
    """A data set to keep."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "members": [
                        {"job": "01k9z3v6m3q2f1x8a7b5c4d2e0", "decisions": "accepted"},
                        {"job": "01k9z3v6m3q2f1x8a7b5c4d2e1", "items": ["000000", "000007"]},
                    ]
                }
            ]
        },
    )

    members: Members = Field(description="Jobs of one workspace, and which of their labelled items.")


class MemberView(BaseModel):
    """What one job gives to a data set."""

    job: str
    decisions: Decisions
    items: list[str] = Field(description="Ids of these items alone; empty for all.")
    photos: int | None = Field(description="Labelled photos that it gives now; null: the job is gone.")


class DataSetView(BaseModel):
    """A data set as it stands."""

    name: str
    members: list[MemberView]
    photos: int = Field(description="Labelled photos in all.")


@router.get("", responses=problems(), summary="List the data sets")
def list_data_sets(state: State, caller: Reader) -> DataSetList:
    """List names."""
    return DataSetList(data_sets=state.data_sets.names(caller.workspace))


@router.get("/{name}", responses=problems(404), summary="A data set")
def get_data_set(state: State, caller: Reader, name: Name) -> DataSetView:
    """Show a data set and count its photos."""
    return _view(state, name, state.data_sets.get(name, caller.workspace))


@router.put("/{name}", responses=problems(404, 409), summary="Keep a data set")
def put_data_set(state: State, caller: Labeller, name: Name, body: DataSetBody) -> DataSetView:
    """Name items of jobs; what the jobs gain or change later is part of the data set too."""
    state.data_sets.put(name, body.members, caller.workspace, sees=caller.sees)
    return _view(state, name, body.members)


@router.delete("/{name}", status_code=204, responses=problems(404), summary="Forget a data set")
def delete_data_set(state: State, caller: Labeller, name: Name) -> None:
    """Forget the name; the jobs, and exports that were made, stay."""
    state.data_sets.delete(name, caller.workspace)


@router.post("/{name}/exports", status_code=202, responses=problems(404, 409, 415), summary="Export a data set")
def export_data_set(state: State, caller: Reader, name: Name, wanted: ExportRequest) -> ExportView:
    """Have a worker build one zip of all members; it is listed, fetched and deleted with the data set's first job."""
    for format_name in wanted.formats:
        writer_class(format_name)
    if wanted.decisions != "all":
        raise InvalidOption(f"decisions = {wanted.decisions!r}.", fix="The members of a data set say which they take.")
    members = state.data_sets.get(name, caller.workspace)
    state.data_sets.jobs_of(members, sees=caller.sees)
    record, new = state.exports.request_data_set(name, members, wanted)
    if new:
        try:
            state.queue.build_export(record.id)
        except QueueUnavailable:
            logger.exception("export recorded but not queued", extra={"data_set": name, "export": record.id})
    return ExportView.of(record)


def _view(state: AppState, name: str, members: tuple[Member, ...]) -> DataSetView:
    counted = [(member, state.data_sets.photos(member)) for member in members]
    return DataSetView(
        name=name,
        members=[
            MemberView(job=member.job, decisions=member.decisions, items=list(member.items), photos=photos)
            for member, photos in counted
        ],
        photos=sum(photos or 0 for _, photos in counted),
    )
