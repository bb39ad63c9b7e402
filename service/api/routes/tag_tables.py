"""Tables of tags before any photo is sent: what was understood, and which row is whose."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from toco.jobs.settings import Settings
from toco.model.errors import InvalidOption
from toco.model.photos.assignment import PlacedTable, assign
from toco.service.api.auth import Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import TableView
from toco.service.api.state import State
from toco.service.api.submission import MAX_NAME
from toco.service.api.uploaded_form import MANIFEST_FIELD, read_form, sent_table

router = APIRouter(prefix="/v1", tags=["tags"])

_NAMES = TypeAdapter(list[Annotated[str, Field(max_length=MAX_NAME)]])
_NAME_BYTES = 4 * MAX_NAME

_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["manifest"],
                "properties": {
                    **MANIFEST_FIELD,
                    "photos": {
                        "type": "string",
                        "description": "Names of the photos that are to be labelled: a JSON array, as text or a file.",
                    },
                },
            },
        },
    },
}


class RowView(BaseModel):
    """What a table says of a photo."""

    tags: list[str]
    split: str = Field(description="Part of the data set, as written, or empty.")
    complete: bool = Field(description="Whether what is not listed is not on the photo.")


class TablePreview(BaseModel):
    """What a table would do to a job."""

    table: TableView
    photos: dict[str, RowView] = Field(description="By photo; those that no row lists are missing.")
    unclear: dict[str, str] = Field(description="Photos that several rows may mean, or the other way round, and why.")
    notes: list[str] = Field(description="Rows and photos that do not fit each other.")


@router.post(
    "/tags/table",
    responses=problems(400, 415),
    openapi_extra={"requestBody": _BODY},
    summary="What a table of tags says of photos",
)
async def read_tag_table(request: Request, state: State, _caller: Reader) -> TablePreview:
    """Read a table as a job would, and match its rows to names of photos; nothing is stored."""
    async with read_form(request, state.settings) as form:
        return await run_in_threadpool(_read, form, state.settings)


def _read(form: FormData, settings: Settings) -> TablePreview:
    reading = sent_table(form)
    if reading is None:
        raise InvalidOption("There is no table.", fix="Send one as `manifest`.")
    found = assign(_names(form, settings), [PlacedTable("", reading)])
    rows = {
        name: RowView(tags=list(row.tags), split=row.split, complete=row.complete) for name, row in found.tagged.items()
    }
    unclear = {name: str(error) for name, error in found.refused.items()}
    return TablePreview(
        table=TableView.of(reading), photos=rows, unclear=unclear, notes=found.notes() if found.photos else []
    )


def _names(form: FormData, settings: Settings) -> list[str]:
    """Read the names of photos. Raises InvalidOption."""
    value = form.get("photos") or "[]"
    most = settings.max_files_per_job
    if isinstance(value, UploadFile):
        value.file.seek(0)
        value = value.file.read(most * _NAME_BYTES + 1).decode(errors="replace")
    try:
        names = _NAMES.validate_json(value)
    except ValidationError:
        raise InvalidOption(
            "photos is no JSON array of names.", fix=f"Send names of up to {MAX_NAME} characters."
        ) from None
    if len(names) > most:
        raise InvalidOption(f"{len(names):,} names; a job has at most {most:,} photos.", fix="Send several jobs.")
    return names
