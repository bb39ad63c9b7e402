"""Annotations that come back: what people made of our predictions in Label Studio becomes revisions here.

Which item a task was labelled as is written down when its prediction is asked for. Annotations come by the webhook as
they are saved, or all at once by a pull; either way the same annotation is one revision.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel

from toco.jobs.api_keys import ApiKey
from toco.jobs.item_index import ItemQuery
from toco.jobs.job import DEFAULT_WORKSPACE
from toco.jobs.keys import annotated_task, annotation_config
from toco.model.errors import TocoError
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.photos.images import read_mask
from toco.service.annotation.shared_labels import Place
from toco.service.api.state import AppState
from toco.service.label_studio.annotations import mask_of_annotation
from toco.service.label_studio.labelling_config import parse_labelling_config
from toco.service.label_studio.tool_api import LabelStudioApi

logger = logging.getLogger(__name__)

JsonObject = dict[str, Any]

_KEPT_SECONDS: Final = 90 * 86_400
_PAGE_TASKS: Final = 20  # brush regions are long: a page must stay under the limit of an answer
SAVED: Final = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED"})


class KnownTask(BaseModel):
    """What is known of a task of Label Studio.

    Attributes:
        job, item: as which it was labelled.
        config: digest of the labelling config.
    """

    job: str
    item: str
    config: str


@dataclass(slots=True)
class Pulled:
    """What a pull brought.

    Attributes:
        tasks: with an annotation.
        revisions: items that have a new current revision.
        same: annotations that are current already.
        unmatched: tasks that no item is known for.
        refused: by task, why its annotation is no mask.
        unknown_labels: labels that mean no class; their regions are open.
    """

    tasks: int = 0
    revisions: int = 0
    same: int = 0
    unmatched: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    unknown_labels: list[str] = field(default_factory=list)


class Corrections:
    """Takes annotations.

    Args:
        state: of the application.
        label_studio: where they are pulled from.
    """

    def __init__(self, state: AppState, label_studio: LabelStudioApi) -> None:
        self._state = state
        self._redis = state.records.redis
        self._api = label_studio

    def remember(self, places: Mapping[int, Place], label_config: str) -> None:
        """Write down which items tasks are labelled as."""
        if not places:
            return
        digest = hashlib.sha256(label_config.encode()).hexdigest()[:32]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(annotation_config(digest), label_config, ex=_KEPT_SECONDS)
        for task, place in places.items():
            known = KnownTask(job=place.job, item=place.item, config=digest)
            pipeline.set(annotated_task(task), known.model_dump_json(), ex=_KEPT_SECONDS)
        pipeline.execute()

    def heard(self, action: str, task: Mapping[str, Any], annotation: Mapping[str, Any]) -> None:
        """Take an annotation that a webhook told of; what is wrong with it is logged."""
        number = task.get("id")
        if action not in SAVED or not isinstance(number, int) or annotation.get("was_cancelled"):
            return
        found = self._redis.get(annotated_task(number))
        config = found and self._redis.get(annotation_config(KnownTask.model_validate_json(found).config))
        if not config:
            return
        try:
            self._take(KnownTask.model_validate_json(found), str(config), annotation, Pulled())
        except TocoError as error:
            logger.warning("annotation not taken", extra={"task": number, "code": error.code, "detail": str(error)})

    def pull(self, project: int, caller: ApiKey, *, job: str = "") -> Pulled:
        """Fetch a project's annotations, and make those revisions that are not yet.

        Args:
            project: id in Label Studio.
            caller: whose jobs they may change.
            job: whose items are meant by tasks that were imported from an export; they are found by the photo's name.

        Raises:
            LabelStudioRefused, OutboundFailed, ForbiddenAddress, InvalidLabellingConfig, JobNotFound
        """
        config = str(self._api.call("GET", f"/api/projects/{project}").get("label_config", ""))
        image_key = parse_labelling_config(config).image_key
        names = self._names(job, caller) if job else {}
        pulled = Pulled()
        for task in self._tasks(project):
            annotation = _newest(task)
            if annotation is None:
                continue
            pulled.tasks += 1
            known = self._known(task, caller) or names.get(_photo_name((task.get("data") or {}).get(image_key)))
            if known is None:
                pulled.unmatched.append(int(task["id"]))
                continue
            try:
                self._take(known, config, annotation, pulled)
            except TocoError as error:
                if error.kind == "unavailable":
                    raise
                pulled.refused[int(task["id"])] = str(error)
        return pulled

    def _take(self, known: KnownTask, config: str, annotation: Mapping[str, Any], pulled: Pulled) -> None:
        state = self._state
        record = state.revisions.labelled(known.job, known.item)
        vocabulary = state.catalogue.vocabulary_of(state.records.job(known.job))
        machine = record.revision.machine_key_of(known.job, known.item, PSEUDO_MASK)
        before = read_mask(state.store.get(machine), max_pixels=state.settings.max_image_pixels)
        result: Sequence[Any] = annotation.get("result") or ()
        found = mask_of_annotation(
            result,
            before,
            config=parse_labelling_config(config),
            vocabulary=vocabulary,
            tags=record.summary.tags if record.summary else (),
        )
        if found is None:
            return
        pulled.unknown_labels = sorted({*pulled.unknown_labels, *found.unknown})
        made = state.revisions.put_mask(
            known.job,
            known.item,
            found.mask,
            vocabulary,
            how="label_studio",
            who=_annotator(annotation),
        )
        if made.revision.number == record.revision.number:
            pulled.same += 1
        else:
            pulled.revisions += 1
        logger.info("annotation taken", extra={"job": known.job, "item": known.item, "revision": made.revision.number})

    def _known(self, task: JsonObject, caller: ApiKey) -> KnownTask | None:
        text = self._redis.get(annotated_task(int(task["id"])))
        if not text:
            return None
        known = KnownTask.model_validate_json(text)
        return known if caller.sees in (None, self._workspace(known.job)) else None

    def _workspace(self, job: str) -> str:
        try:
            return self._state.records.job(job).workspace
        except TocoError:
            return DEFAULT_WORKSPACE

    def _names(self, job: str, caller: ApiKey) -> dict[str, KnownTask]:
        """Return the items of a job by the names of their photos; a name that two have means neither."""
        if caller.sees is not None:
            self._state.records.require_seen(job, caller.sees)
        found: dict[str, KnownTask] = {}
        twice: set[str] = set()
        for item in self._state.index.each(job, ItemQuery(state="done")):
            name = PurePosixPath(item.name).stem
            twice |= {name} & found.keys()
            found[name] = KnownTask(job=job, item=item.id, config="")
        return {name: known for name, known in found.items() if name not in twice}

    def _tasks(self, project: int) -> Iterator[JsonObject]:
        page = 1
        while True:
            query = {"project": str(project), "page": str(page), "page_size": str(_PAGE_TASKS), "fields": "all"}
            answer = self._api.call("GET", "/api/tasks", query=query)
            tasks = answer.get("tasks", []) if isinstance(answer, dict) else answer
            yield from tasks
            if len(tasks) < _PAGE_TASKS:
                return
            page += 1


def _newest(task: Mapping[str, Any]) -> JsonObject | None:
    """Return the newest annotation of a task that was not skipped."""
    found = [entry for entry in task.get("annotations") or () if not entry.get("was_cancelled")]
    return max(found, key=lambda entry: (str(entry.get("updated_at", "")), entry.get("id", 0)), default=None)


def _annotator(annotation: Mapping[str, Any]) -> str:
    by = annotation.get("completed_by")
    name = by.get("email") or by.get("id") if isinstance(by, dict) else by
    return f"Label Studio: {name}" if name else "Label Studio"


def _photo_name(reference: object) -> str:
    """Return the name of a task's photo without its suffix."""
    if not isinstance(reference, str):
        return ""
    parts = urlsplit(reference)
    inside = parse_qs(parts.query).get("d", [""])[0]  # /data/local-files/?d=images/photo.jpg
    return PurePosixPath(inside or unquote(parts.path)).stem
