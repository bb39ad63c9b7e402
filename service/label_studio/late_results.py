"""Predictions that were not ready when Label Studio asked: pushed into it when they are.

What is waited for stands in Redis, so that it outlives this process, and whichever API process sees it first pushes
it. Without a token nothing is pushed; the labels are made all the same, and the next request finds them.
"""

import json
import logging
import threading
import time
from typing import Final

import redis
from pydantic import BaseModel

from toco.jobs.ids import new_id
from toco.jobs.job import ItemRecord
from toco.jobs.keys import LATE_PREDICTIONS, claim_of, late_prediction
from toco.jobs.records import Records
from toco.model.errors import TocoError
from toco.service.annotation.shared_labels import Place, SharedLabels, is_settled
from toco.service.label_studio.predictions import Predictions, Terms
from toco.service.label_studio.tool_api import LabelStudioApi, LabelStudioRefused

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 30.0  # after Label Studio did not take a prediction
_KEPT_SECONDS: Final = 86_400
_CLAIM_SECONDS: Final = 300


class LateTask(BaseModel):
    """A task that waits for its prediction.

    Attributes:
        task: its id in Label Studio.
        job, item: what is labelled for it.
    """

    task: int
    job: str
    item: str


class Late(BaseModel):
    """The tasks of one request that still wait.

    Attributes:
        terms: of their project.
        tasks: those that wait.
        since: when they were asked for, seconds since 1970.
    """

    terms: Terms
    tasks: list[LateTask]
    since: float


class LateResults:
    """Remembers tasks, and pushes their predictions from a thread.

    Args:
        records: keep what is waited for.
        label_studio: takes the predictions.
        labels: know the items.
        predictions: make the predictions.
    """

    def __init__(
        self, records: Records, label_studio: LabelStudioApi, labels: SharedLabels, predictions: Predictions
    ) -> None:
        self._redis = records.redis
        self._label_studio = label_studio
        self._labels = labels
        self._predictions = predictions
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to push, if there is a Label Studio to push to."""
        if self._label_studio.can_push:
            self._thread = threading.Thread(target=self._run, name="late-results", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the prediction in hand."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def remember(self, tasks: list[LateTask], terms: Terms) -> None:
        """Push the predictions of tasks as soon as they are made."""
        if not self._label_studio.can_push or not tasks:
            return
        self._keep(new_id(), Late(terms=terms, tasks=tasks, since=time.time()), wait=_LOOK_SECONDS)

    def push_due(self) -> int:
        """Look at what is waited for and push what is done; return how many predictions that were."""
        pushed = 0
        for late in self._redis.zrangebyscore(LATE_PREDICTIONS, "-inf", time.time(), start=0, num=100):
            claim = claim_of(LATE_PREDICTIONS, late)
            if self._redis.set(claim, 1, nx=True, ex=_CLAIM_SECONDS):
                try:
                    pushed += self._push(late)
                finally:
                    self._redis.delete(claim)
        return pushed

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.push_due()
            except redis.RedisError:
                logger.warning("looking for late results failed, trying again", exc_info=True)
            except Exception:
                logger.exception("pushing late results failed")

    def _push(self, late: str) -> int:
        text = self._redis.get(late_prediction(late))
        if text is None:
            self._redis.zrem(LATE_PREDICTIONS, late)
            return 0
        waiting = Late.model_validate_json(text)
        records = self._labels.items(Place(task.job, task.item) for task in waiting.tasks)
        left: list[LateTask] = []
        pushed, refused = 0, False
        for task in waiting.tasks:
            record = records.get(Place(task.job, task.item))
            if not is_settled(record) or self._stopped.is_set():
                left.append(task)
                continue
            try:
                pushed += self._push_task(task, record, waiting.terms)
            except TocoError as error:
                refused = True
                logger.warning("late prediction not pushed", extra={"task": task.task, "detail": str(error)})
                if not isinstance(error, LabelStudioRefused) or error.status not in (400, 404):
                    left.append(task)
        if left and time.time() - waiting.since < _KEPT_SECONDS:
            waiting.tasks = left
            self._keep(late, waiting, wait=_RETRY_SECONDS if refused else _LOOK_SECONDS)
        else:
            self._redis.zrem(LATE_PREDICTIONS, late)
            self._redis.delete(late_prediction(late))
        return pushed

    def _push_task(self, task: LateTask, record: ItemRecord | None, terms: Terms) -> int:
        if record is None or record.state != "done":
            reason = str(record.error or record.state) if record else "deleted"
            logger.warning("no prediction for a task", extra={"task": task.task, "reason": reason})
            return 0
        known = self._label_studio.call("GET", "/api/predictions", query={"task": str(task.task)})
        there = {prediction.get("model_version") for prediction in known}
        made = [
            prediction
            for prediction in self._predictions.of(Place(task.job, task.item), record, terms)
            if prediction["model_version"] not in there
        ]
        for prediction in made:
            self._label_studio.call("POST", "/api/predictions", prediction | {"task": task.task})
        logger.info("late predictions pushed", extra={"task": task.task, "count": len(made)})
        return len(made)

    def _keep(self, late: str, waiting: Late, *, wait: float) -> None:
        self._redis.set(late_prediction(late), json.dumps(waiting.model_dump(mode="json")), ex=2 * _KEPT_SECONDS)
        self._redis.zadd(LATE_PREDICTIONS, {late: time.time() + wait})
