"""The backend behind Label Studio: from its requests to labels, within the time that it waits."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from starlette.concurrency import run_in_threadpool

from toco.jobs.api_keys import ApiKey
from toco.jobs.job import ItemRecord
from toco.jobs.keys import project_key
from toco.jobs.outbound import Outbound
from toco.model.errors import TocoError
from toco.model.formats.label_studio import RegionKind
from toco.service.annotation.shared_labels import Place, SharedLabels, Wanted, is_settled
from toco.service.annotation.task_image import TaskImage
from toco.service.api.state import AppState
from toco.service.api.submission import JobRequest, frozen_options
from toco.service.label_studio.corrections import Corrections
from toco.service.label_studio.kept_images import KeptImages
from toco.service.label_studio.labelling_config import LabellingConfig, parse_labelling_config
from toco.service.label_studio.late_results import LateResults, LateTask
from toco.service.label_studio.predictions import JsonObject, Predictions, Terms
from toco.service.label_studio.project_options import ProjectOptions, parse_project_options
from toco.service.label_studio.schemas import Predict, Setup, Webhook
from toco.service.label_studio.task_images import TaskImages
from toco.service.label_studio.task_tags import find_tags, value_of
from toco.service.label_studio.tool_api import LabelStudioApi

logger = logging.getLogger(__name__)

Entry = list[JsonObject] | JsonObject
"""What Label Studio takes for one task: a prediction, or any number of them."""

_FETCH_SHARE: Final = 0.5  # of the time for an answer may go into fetching photos
# Of Label Studio's webhooks; each is a series in the metrics, so there must not be any number of them.
_ACTIONS: Final = frozenset(
    f"{subject}_{verb}"
    for subject in ("ANNOTATION", "ANNOTATIONS", "TASKS", "PROJECT", "LABEL_LINK")
    for verb in ("CREATED", "UPDATED", "DELETED")
)
_LEAST_FETCH_SECONDS: Final = 5.0
_FIRST_POLL_SECONDS: Final = 0.02
_LONGEST_POLL_SECONDS: Final = 0.5
_PROJECT_SECONDS: Final = 90 * 86_400  # settings of a project that nobody asks about any more are forgotten


@dataclass(frozen=True, slots=True)
class AskedTask:
    """A task of a request.

    Attributes:
        task: its id, or None where it has none.
        place: what is labelled for it; None if that cannot be, which the log explains.
    """

    task: int | None
    place: Place | None


@dataclass(frozen=True, slots=True)
class Round:
    """One request for predictions on its way.

    Attributes:
        terms: of the project.
        tasks: in the order of the request.
        interactive: whether an annotator waits in the open editor.
        without: kinds of regions that the annotator draws right now, and does not want back.
    """

    terms: Terms
    tasks: tuple[AskedTask, ...]
    interactive: bool = False
    without: frozenset[RegionKind] = frozenset()


class LabelStudioBackend:
    """Answers Label Studio. Nothing here touches a model: photos go through the queue like all others.

    Args:
        state: of the application.
    """

    def __init__(self, state: AppState) -> None:
        settings = state.settings
        token = settings.label_studio_token
        self._state = state
        self._redis = state.records.redis
        self._outbound = Outbound(settings, trusted_url=settings.label_studio_url)
        label_studio = LabelStudioApi(
            self._outbound, settings.label_studio_url, token.get_secret_value() if token else ""
        )
        self._images = TaskImages(settings, state.store, self._outbound, label_studio)
        self._labels = SharedLabels(state)
        self._predictions = Predictions(state)
        self.corrections = Corrections(state, label_studio)
        self.late = LateResults(state.records, label_studio, self._labels, self._predictions)

    def start(self) -> None:
        """Begin to push late results."""
        self.late.start()

    def close(self) -> None:
        """Stop pushing and close the connections."""
        self.late.stop()
        self._outbound.close()

    def set_up(self, setup: Setup, workspace: str) -> str:
        """Take a project's settings and return the model version that they give a workspace. Needs no warm model.

        Raises:
            InvalidOption, ModelNotFound
        """
        options = parse_project_options(setup.extra_params)
        version = self._version(options, workspace)
        self._redis.set(project_key(setup.project), options.model_dump_json(), ex=_PROJECT_SECONDS)
        return version

    def version(self, workspace: str) -> str:
        """Return the model version of a project without settings. Raises InvalidOption or ModelNotFound."""
        return self._version(ProjectOptions(), workspace)

    def note(self, event: Webhook) -> None:
        """Count an event, which the metrics show; an annotation that was saved becomes a revision of its item."""
        task, project = event.task or {}, event.project or {}
        action = event.action if event.action in _ACTIONS else "other"
        self._state.stats.add({f"label_studio:{action}": 1})
        logger.info(
            "label studio event", extra={"action": event.action, "project": project.get("id"), "task": task.get("id")}
        )
        self.corrections.heard(event.action, task, event.annotation or {})

    async def predict(
        self, predict: Predict, caller: ApiKey, *, request_id: str
    ) -> list[list[JsonObject] | JsonObject]:
        """Return an entry a task, in order, within `annotation_wait_seconds` or soon after.

        A task without a label (yet) gets an empty list, so that Label Studio keeps nothing for it and asks again; in
        interactive mode it gets a prediction without regions, since the editor wants one.

        Raises:
            InvalidLabellingConfig, InvalidOption, ModelNotFound, MappingNotFound, UnknownTag, LimitReached,
            StorageFull, StorageUnavailable
        """
        wait = self._state.settings.annotation_wait_seconds
        deadline = time.monotonic() + wait
        fetch = max(_LEAST_FETCH_SECONDS, wait * _FETCH_SHARE)
        begun = await self._state.threads.tools.run(self._begin, predict, caller, request_id, fetch)
        places = [task.place for task in begun.tasks if task.place is not None]
        pause = _FIRST_POLL_SECONDS
        while True:
            records = await run_in_threadpool(self._labels.items, places)
            if all(is_settled(records.get(place)) for place in places) or time.monotonic() >= deadline:
                break
            await asyncio.sleep(pause)
            pause = min(_LONGEST_POLL_SECONDS, pause * 1.5)
        return await self._state.threads.tools.run(self._results, begun, records)

    def _begin(self, predict: Predict, caller: ApiKey, request_id: str, fetch_seconds: float) -> Round:
        config = parse_labelling_config(predict.label_config)
        options = self._options(predict.project)
        terms = Terms(
            label_config=predict.label_config, options=options, version=self._version(options, caller.workspace)
        )
        context = predict.params.context if predict.params else None
        if not config.controls:
            logger.warning("the labelling config has no tag to draw regions with", extra={"project": predict.project})
        references = [value_of(task, config.image_key) for task in predict.tasks]
        kept = KeptImages(self._state.records, self._state.store, caller.id)
        images = self._images.fetch_all(references, seconds=fetch_seconds, recall=kept.recall)
        photos = list(zip(predict.tasks, references, images, strict=True))
        wanted = self._wanted(photos, config, options, context, caller.workspace)
        mapping = self._state.mappings.folded(options.mapping, caller.workspace)
        request = replace(_job_request(options, name="Label Studio"), mapping=mapping)
        placed = self._labels.place(list(wanted.values()), request, caller, request_id=request_id) if wanted else []
        places = dict(zip(wanted, placed, strict=True))
        for position, place in places.items():
            kept.keep(references[position], wanted[position].image, place)
        tasks = tuple(
            AskedTask(task["id"] if isinstance(task.get("id"), int) else None, places.get(position))
            for position, task in enumerate(predict.tasks)
        )
        self.corrections.remember(
            {task.task: task.place for task in tasks if task.task is not None and task.place is not None},
            predict.label_config,
        )
        return Round(terms, tasks, context is not None, _drawn_kinds(context, config))

    def _wanted(
        self,
        photos: Sequence[tuple[JsonObject, object, TaskImage]],
        config: LabellingConfig,
        options: ProjectOptions,
        context: JsonObject | None,
        workspace: str,
    ) -> dict[int, Wanted]:
        """Return, by position, the photos of the tasks that have one, with their tags as classes where they are."""
        vocabulary = self._state.catalogue.find(options.model, workspace).spec.vocabulary
        key = options.tags_key or self._state.settings.label_studio_tags_key
        wanted: dict[int, Wanted] = {}
        for position, (task, reference, image) in enumerate(photos):
            if image.error is not None:
                logger.warning("no photo for a task", extra={"task": task.get("id"), "detail": str(image.error)})
                continue
            written = find_tags(task, key=key, context=context)
            tags = written and tuple(
                dict.fromkeys(name for tag in written for name in config.classes_of_tag(tag, vocabulary))
            )
            wanted[position] = Wanted(_photo_name(reference, task.get("id")), image, tags)
        return wanted

    def _results(self, begun: Round, records: Mapping[Place, ItemRecord]) -> list[Entry]:
        results: list[Entry] = []
        late: list[LateTask] = []
        outcomes: Counter[str] = Counter()
        for task in begun.tasks:
            record = records.get(task.place) if task.place is not None else None
            found: list[JsonObject] = []
            if task.place is None:
                outcomes["without photo"] += 1
            elif record is None or record.state in ("failed", "cancelled"):
                outcomes["failed"] += 1
                reason = str(record.error or record.state) if record else "deleted"
                logger.warning("no prediction for a task", extra={"task": task.task, "reason": reason})
            elif record.state == "done":
                found = self._found(task, task.place, record, begun)
                outcomes["done" if found else "failed"] += 1
            else:
                outcomes["late"] += 1
                if task.task is not None and not begun.interactive:
                    late.append(LateTask(task=task.task, job=task.place.job, item=task.place.item))
            if begun.interactive and not found:
                found = [{"result": [], "score": 0.0, "model_version": begun.terms.version}]
            results.append(found[0] if len(found) == 1 or begun.interactive else found)
        self.late.remember(late, begun.terms)
        logger.info("label studio answered", extra={"tasks": len(results), "outcomes": dict(outcomes)})
        return results

    def _found(self, task: AskedTask, place: Place, record: ItemRecord, begun: Round) -> list[JsonObject]:
        try:
            found = self._predictions.of(place, record, begun.terms, without=begun.without)
        except TocoError as error:
            logger.warning("no prediction for a task", extra={"task": task.task, "reason": str(error)})
            return []
        if not found[0]["result"]:
            summary = record.summary
            logger.warning(
                "prediction without regions",
                extra={
                    "task": task.task,
                    "tags": summary.tags if summary else (),
                    "open_tags": summary.open_tags if summary else (),
                    "reason": "no tag that model and labelling config know covers any pixel",
                },
            )
        return found

    def _options(self, project: str) -> ProjectOptions:
        found = self._redis.get(project_key(project))
        return ProjectOptions.model_validate_json(found) if found else ProjectOptions()

    def _version(self, options: ProjectOptions, workspace: str) -> str:
        spec = self._state.catalogue.find(options.model, workspace).spec
        return options.version(spec, frozen_options(spec, _job_request(options), self._state.settings).label)


def _job_request(options: ProjectOptions, *, name: str = "") -> JobRequest:
    return JobRequest(
        model=options.model,
        preset=options.preset,
        options=options.options,
        unknown_tags=options.unknown_tags,
        name=name,
    )


def _photo_name(reference: object, task: object) -> str:
    """Return a photo's file name, for lists of items; data URIs have none."""
    if not isinstance(reference, str) or reference.startswith("data:"):
        return f"task-{task}"
    parts = urlsplit(reference)
    inside = parse_qs(parts.query).get("d", [""])[0]  # /data/local-files/?d=folder/photo.jpg
    return PurePosixPath(inside or unquote(parts.path)).name or f"task-{task}"


def _drawn_kinds(context: JsonObject | None, config: LabellingConfig) -> frozenset[RegionKind]:
    """Return the kinds that an annotator draws with in interactive mode, unless they are all that there are."""
    regions: Any = (context or {}).get("result")
    types = {region.get("type") for region in regions if isinstance(region, dict)} if isinstance(regions, list) else ()
    kinds = {control.kind for control in config.controls}
    drawn = frozenset(kind for kind in kinds if f"{kind}labels" in types)
    return drawn if drawn < kinds else frozenset()
