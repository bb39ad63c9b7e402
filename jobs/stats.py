"""Figures that workers leave in Redis for `/metrics` and `/readyz`."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from toco.jobs.keys import TOTALS, WORKER_REPORTS, WORKERS
from toco.jobs.records import Records


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker process says of itself.

    Attributes:
        name: host and process id.
        queues: the queues it takes work from.
        models: the models it keeps warm.
        device: what the network runs on.
        device_memory: bytes by kind (`allocated`, `reserved`).
        batch_images: images that go through the device at once, by model.
        started_at: seconds since 1970.
        answered_at: when it last took a message or began or ended work on an item, seconds since 1970.
    """

    name: str
    queues: list[str]
    models: list[str]
    device: str
    device_memory: dict[str, int] = field(default_factory=dict)
    batch_images: dict[str, int] = field(default_factory=dict)
    started_at: float = 0.0
    answered_at: float = 0.0


def silent_workers(workers: Sequence[WorkerReport], *, now: float, patience_seconds: float) -> list[str]:
    """Return the names of workers whose process lives, but that no message reaches, or that never end their work.

    A message that only has to be answered goes round all the time; an idle worker gets one of as many as there are
    workers.

    Args:
        workers: the live ones that take from the same queues.
        now: seconds since 1970.
        patience_seconds: how long one worker alone may take to answer.
    """
    limit = patience_seconds * max(1, len(workers))
    return [worker.name for worker in workers if now - worker.answered_at > limit]


class Stats:
    """Totals since the records began, and the reports of live workers."""

    def __init__(self, records: Records) -> None:
        self._redis = records.redis

    def report(self, report: WorkerReport, *, valid_seconds: float) -> None:
        """Leave a worker's report; it counts as alive for a time."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zadd(WORKERS, {report.name: time.time() + valid_seconds})
        pipeline.hset(WORKER_REPORTS, report.name, json.dumps(asdict(report)))
        pipeline.execute()

    def retire(self, name: str) -> None:
        """Remove a worker that stops."""
        self._redis.zrem(WORKERS, name)
        self._redis.hdel(WORKER_REPORTS, name)

    def live_workers(self) -> list[WorkerReport]:
        """Return the reports of the workers that were heard of lately."""
        now = time.time()
        gone = self._redis.zrangebyscore(WORKERS, "-inf", now)
        for name in gone:
            self.retire(name)
        names = self._redis.zrange(WORKERS, 0, -1)
        found = self._redis.hmget(WORKER_REPORTS, names) if names else []
        return [WorkerReport(**json.loads(text)) for text in found if text]

    def add(self, amounts: Mapping[str, float]) -> None:
        """Add to totals."""
        pipeline = self._redis.pipeline(transaction=False)
        for name, amount in amounts.items():
            pipeline.hincrbyfloat(TOTALS, name, amount)
        pipeline.execute()

    def totals(self) -> dict[str, float]:
        """Return all totals."""
        return {name: float(value) for name, value in self._redis.hgetall(TOTALS).items()}
