"""Smart strokes: what a click or a scribble on a photo takes."""

from typing import Annotated, Final

import cv2
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from toco.model.errors import TocoError
from toco.model.method.smart_strokes import DEFAULT_REACH, Stroke, take_alike
from toco.service.api.auth import Labeller
from toco.service.api.problem import problems
from toco.service.api.schemas import ItemId, JobId
from toco.service.api.state import AppState, State

router = APIRouter(prefix="/v1/jobs/{job}/items/{item}", tags=["revisions"])

MOST_POINTS: Final = 20_000
_FAR: Final = 100_000.0  # photo pixels

Coordinate = Annotated[float, Field(ge=-_FAR, le=_FAR, allow_inf_nan=False)]


class TooManyPoints(TocoError):
    """The strokes have more points than are taken."""

    code = "too_many_points"
    kind = "invalid"


class SentStroke(BaseModel):
    """A line on the photo, and what it stands for."""

    model_config = ConfigDict(extra="forbid")

    value: Annotated[int, Field(ge=0, le=255, description="Class index; 0 background, 255 open.")]
    width: Annotated[float, Field(gt=0, le=_FAR, description="Photo pixels.")] = 1.0
    points: Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=1, max_length=MOST_POINTS)] = Field(
        description="(x, y) in photo pixels; a single one is a click."
    )


class Strokes(BaseModel):
    """All strokes so far. None only has the photo made ready, so that the first one is answered at once."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"strokes": [{"value": 8, "width": 6, "points": [[120, 80]]}]}]}
    )

    strokes: Annotated[list[SentStroke], Field(max_length=500)] = []
    reach: Annotated[float, Field(ge=0, le=1, description="How unlike what is taken may be.")] = DEFAULT_REACH
    touching: bool = Field(True, description="Take only what hangs together with a stroke of the class.")


class TakenRegion(BaseModel):
    """The pixels that a class takes."""

    value: int = Field(description="Class index.")
    x: int = Field(description="Left edge of the box around the region, photo pixels.")
    y: int = Field(description="Top edge.")
    size: tuple[int, int] = Field(description="(height, width) of the box, pixels.")
    counts: list[int] = Field(description="COCO run lengths in the box: columns first, beginning with pixels outside.")


class TakenView(BaseModel):
    """What the strokes take; all other pixels stay as they are."""

    regions: list[TakenRegion]


@router.post("/strokes", responses=problems(404, 409, 413, 415), summary="What strokes on the photo take")
async def take(state: State, _: Labeller, job: JobId, item: ItemId, asked: Strokes) -> TakenView:
    """Find what looks like the strokes; nothing is stored. A mask made with it is put at `/mask`."""
    if sum(len(stroke.points) for stroke in asked.strokes) > MOST_POINTS:
        raise TooManyPoints(f"The strokes have over {MOST_POINTS} points.", fix="Simplify them.")
    return await state.threads.strokes.run(_take, state, job, item, asked)


def _take(state: AppState, job: str, item: str, asked: Strokes) -> TakenView:
    basis = state.stroke_bases.of(state.records.item(job, item))
    strokes = [Stroke(sent.value, sent.width, tuple(sent.points)) for sent in asked.strokes]
    taken = take_alike(basis, strokes, reach=asked.reach, touching=asked.touching)
    return TakenView(regions=[region_of(taken, value) for value in sorted({stroke.value for stroke in strokes})])


def region_of(taken: npt.NDArray[np.int16], value: int) -> TakenRegion:
    """Describe what a class takes of a photo; `taken` is (H, W) int16 of class indices, see `take_alike`."""
    mask = (taken == value).view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    box = mask[y : y + height, x : x + width]
    return TakenRegion(value=value, x=x, y=y, size=(height, width), counts=_runs(box))


def _runs(box: npt.NDArray[np.uint8]) -> list[int]:
    columns = cv2.transpose(box).ravel() if box.size else box.ravel()
    changes = np.flatnonzero(np.diff(columns)) + 1
    runs = np.diff(np.concatenate([[0], changes, [columns.size]]))
    return [*([0] if columns[:1].any() else []), *runs.tolist()]
