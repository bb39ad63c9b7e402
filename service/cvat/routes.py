"""A CVAT detector over HTTP, as its Nuclio functions are called.

References:
    docs.cvat.ai, "Serverless tutorial" (request and response of a detector).
"""

import asyncio
import base64
import binascii
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from toco.jobs.job import ItemRecord
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import PSEUDO_MASK, RESULT, read_result
from toco.model.formats.cvat import encode_bits
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import classes_in
from toco.model.photos.images import read_mask
from toco.model.photos.tag_check import UnknownTags
from toco.service.annotation.shared_labels import Place, SharedLabels, Wanted, is_settled
from toco.service.annotation.task_image import TaskImage
from toco.service.api.auth import Labeller
from toco.service.api.problem import problems
from toco.service.api.state import AppState, State
from toco.service.api.submission import JobRequest, look_at

router = APIRouter(prefix="/cvat", tags=["annotation tools"])

_POLL_SECONDS = 0.05
_DEFAULT_THRESHOLD = 0.5


class NotLabelled(TocoError):
    """The photo cannot be labelled."""

    code = "not_labelled"
    kind = "invalid"


class NotLabelledYet(TocoError):
    """The label takes longer than CVAT waits."""

    code = "not_labelled_yet"
    kind = "unavailable"


class DetectRequest(BaseModel):
    """What CVAT sends to a detector.

    Attributes:
        image: base64 of the photo's file.
        threshold: the classifier's probability (0..1) from which a class is reported.
        tags: what is on the photo, where the sender knows; CVAT itself does not send any.
        unknown_tags: what is done about words that are not understood.
        mapping: the user's own words.
    """

    image: str = Field(description="Base64 of the photo's file.")
    threshold: Annotated[float | None, Field(gt=0, lt=1)] = None
    tags: list[str] | None = None
    unknown_tags: UnknownTags = "open"
    mapping: dict[str, str] | str = Field({}, description="Own words and their classes, or a kept mapping's name.")


class DetectedShape(BaseModel):
    """A mask as CVAT takes it from a detector."""

    confidence: str = Field(description="0..1: of the class being there, or, with given tags, of its mask.")
    label: str
    type: Literal["mask"] = "mask"
    points: list[float] = Field(description="Outline of the largest part: x, y, x, y, ...")
    mask: list[int] = Field(description="The bits of the box, row by row, then the box: x1, y1, x2, y2.")


@router.post("/nuclio", responses=problems(413, 415), summary="Detect, as CVAT calls a Nuclio function")
async def detect(request: Request, state: State, caller: Labeller, body: DetectRequest) -> list[DetectedShape]:
    """Return a mask for each class of the pseudo mask."""
    image = _decoded(body.image, state)
    threshold = body.threshold or _DEFAULT_THRESHOLD
    options: dict[str, Any] = {} if body.tags else {"tag_threshold": threshold}
    wanted = Wanted("frame", image, tuple(body.tags) if body.tags else None)
    labels = SharedLabels(state)

    def begin() -> Place:
        mapping = state.mappings.folded(body.mapping, caller.workspace)
        asked = JobRequest(options=options, name="CVAT", unknown_tags=body.unknown_tags, mapping=mapping)
        return labels.place([wanted], asked, caller, request_id=request.state.request_id)[0]

    place = await state.threads.tools.run(begin)
    deadline = time.monotonic() + state.settings.annotation_wait_seconds
    while True:
        record = (await run_in_threadpool(labels.items, [place])).get(place)
        if is_settled(record) or time.monotonic() >= deadline:
            break
        await asyncio.sleep(_POLL_SECONDS)
    if not is_settled(record):
        raise NotLabelledYet("The photo is not labelled yet.", fix="Ask again: a label that is made is kept.")
    if record is None or record.state != "done":
        error = record.error if record is not None else None
        raise NotLabelled(error.detail if error else "The photo's job was ended.", fix=error.fix if error else "")
    return await state.threads.tools.run(_shapes, state, record, body.threshold if body.tags else None)


def _shapes(state: AppState, record: ItemRecord, least: float | None) -> list[DetectedShape]:
    mask = read_mask(state.store.get(record.key_of(PSEUDO_MASK)))
    result = read_result(state.store.get(record.key_of(RESULT)))
    vocabulary = state.catalogue.vocabulary_of(state.records.job(record.job))
    rows = {row.name: row for row in result.classes}
    shapes = []
    for entry, region in classes_in(mask, vocabulary):
        row = rows[entry.name]
        confidence = row.tag_probability if result.tag_source == "model" else row.score
        if least is not None and confidence < least:
            continue
        outline = max(mask_to_polygons(region, tolerance=1.0), key=lambda polygon: polygon.area)
        shapes.append(
            DetectedShape(
                confidence=f"{confidence:.4f}",
                label=entry.name,
                points=[float(value) for value in outline.outer.ravel()],
                mask=encode_bits(region),
            )
        )
    return shapes


def _decoded(text: str, state: AppState) -> TaskImage:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOption(f"The image is not base64: {error}.", fix="Send the photo's file in base64.") from None
    return TaskImage(content, header=look_at(content, state.settings))
