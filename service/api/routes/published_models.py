"""Models that jobs and trainings made: their versions, which of them is current, downloads, deletion."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from toco.jobs.published_models import Kind, PublishedModel, PublishedVersion
from toco.jobs.store import model_key
from toco.model.learning.learnt_spec import WordReport
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.routes.models import ModelName
from toco.service.api.schemas import moment
from toco.service.api.state import State
from toco.service.api.stored_response import file_responses, stored_response

router = APIRouter(prefix="/v1/models/{name}", tags=["models"])

Number = Annotated[int, Path(ge=1, le=10**9, description="Number of a version.")]


class VersionView(BaseModel):
    """A version of a published model."""

    number: int
    version: str = Field(description="Name and digest of the weights, as results name the model.")
    kind: Kind = Field(description="`learnt`: words on an encoder; `trained`: a whole network.")
    current: bool = Field(description="Whether the model's name stands for it.")
    created_at: datetime
    size: int = Field(description="Bytes of the download.")
    job: str = Field(description="The job or training that made it.")
    encoder: str = Field(description="Of learnt words: digest of the encoder that they stand on.")
    words: list[WordReport] = Field(description="Of learnt words: how well each was learnt.")
    figures: dict[str, object] = Field(description="Measured quality.")
    learnt_from: dict[str, object] = Field(description="Photos, tokens, settings, seconds.")

    @classmethod
    def of(cls, version: PublishedVersion, *, current: bool) -> "VersionView":
        """Show a version."""
        return cls(
            number=version.number,
            version=version.spec.version,
            kind=version.kind,
            current=current,
            created_at=moment(version.created_at),
            size=version.size,
            job=version.job,
            encoder=version.encoder,
            words=list(version.words),
            figures=version.spec.figures,
            learnt_from=version.spec.provenance,
        )


class VersionList(BaseModel):
    """The versions of a published model."""

    name: str
    current: int = Field(description="Number of the version that the name stands for.")
    earlier: list[int] = Field(description="Versions that were current before, the last one last.")
    versions: list[VersionView] = Field(description="The newest first.")

    @classmethod
    def of(cls, model: PublishedModel) -> "VersionList":
        """Show a model's versions."""
        shown = [VersionView.of(version, current=version.number == model.current) for version in model.versions]
        return cls(name=model.name, current=model.current, earlier=list(model.earlier), versions=shown)


class Promotion(BaseModel):
    """Which version becomes current."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"number": 1}]})

    number: int = Field(ge=1, le=10**9, description="Of the version.")


class ComparedWord(BaseModel):
    """A word in two versions; null where a version does not have it."""

    word: str
    first: WordReport | None
    second: WordReport | None


class Comparison(BaseModel):
    """Two versions of a model side by side."""

    name: str
    first: int
    second: int
    words: list[ComparedWord] = Field(description="Of learnt words: the report on each.")
    figures: dict[str, tuple[object, object]] = Field(description="Each measured figure in the first and the second.")


@router.get("/versions", responses=problems(404), summary="The versions of a published model")
def list_versions(state: State, caller: Reader, name: ModelName) -> VersionList:
    """List versions with their words and figures, the newest first."""
    return VersionList.of(state.published.get(name, caller.workspace))


@router.post("/promote", responses=problems(404), summary="Let a model's name stand for another version")
def promote_version(state: State, caller: Labeller, name: ModelName, chosen: Promotion) -> VersionList:
    """Make a version current. Jobs that were submitted before keep the version that they began with."""
    return VersionList.of(state.published.promote(name, chosen.number, caller.workspace))


@router.post("/rollback", responses=problems(404), summary="Go back to the version that was current before")
def roll_back(state: State, caller: Labeller, name: ModelName) -> VersionList:
    """Make the version current again that was before the present one."""
    return VersionList.of(state.published.rollback(name, caller.workspace))


@router.get("/compare", responses=problems(404), summary="Two versions side by side")
def compare_versions(
    state: State,
    caller: Reader,
    name: ModelName,
    first: Annotated[int, Query(ge=1, le=10**9, description="Number of a version.")],
    second: Annotated[int, Query(ge=1, le=10**9, description="Number of another.")],
) -> Comparison:
    """Show what was measured when each version was made."""
    model = state.published.get(name, caller.workspace)
    one, other = model.version(first), model.version(second)
    words = [{entry.word: entry for entry in version.words} for version in (one, other)]
    figures = [{} if version.words else version.spec.figures for version in (one, other)]
    return Comparison(
        name=name,
        first=first,
        second=second,
        words=[
            ComparedWord(word=word, first=words[0].get(word), second=words[1].get(word))
            for word in sorted(words[0].keys() | words[1].keys())
        ],
        figures={key: (figures[0].get(key), figures[1].get(key)) for key in sorted(figures[0].keys() | figures[1])},
    )


@router.get(
    "/download",
    response_class=Response,
    responses=problems(404) | file_responses("zip", "application/zip"),
    summary="Download a published model",
)
async def download_model(
    request: Request,
    state: State,
    caller: Reader,
    name: ModelName,
    version: Annotated[
        int | None, Query(ge=1, le=10**9, description="Its number; the current one if left out.")
    ] = None,
) -> Response:
    """Send a zip that, unpacked into a models folder, is this model."""
    model = await run_in_threadpool(state.published.get, name, caller.workspace)
    chosen = model.version(version)
    return await stored_response(
        request,
        state,
        model_key(caller.workspace, name, chosen.digest),
        media_type="application/zip",
        name=f"{name}-{chosen.number}.zip",
        attachment=True,
    )


@router.delete("", status_code=204, responses=problems(404), summary="Delete a published model")
async def delete_model(state: State, caller: Labeller, name: ModelName) -> None:
    """Delete all versions. Jobs keep their labels and exports; those at work that need it fail."""
    await state.threads.store.run(state.published.delete, name, caller.workspace)


@router.delete("/versions/{number}", status_code=204, responses=problems(404), summary="Delete a version")
async def delete_version(state: State, caller: Labeller, name: ModelName, number: Number) -> None:
    """Delete one version; where it is current, the one before it is again."""
    await state.threads.store.run(state.published.delete, name, caller.workspace, number)
