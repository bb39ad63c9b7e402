"""What workers build for jobs, exports and reports: recorded, built once, found again if the worker dies."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from toco.jobs.ids import new_id
from toco.jobs.job import ItemError
from toco.jobs.keys import (
    EXPORTS_ACTIVE,
    REPORTS_ACTIVE,
    export_record,
    job_exports_key,
    job_key,
    job_reports_key,
    lock_of,
    report_record,
)
from toco.jobs.logs import log_context
from toco.jobs.records import Records
from toco.model.errors import TocoError

logger = logging.getLogger(__name__)


class BuildFailed(TocoError):
    """An export or a report cannot be built."""

    code = "build_failed"
    kind = "internal"


@dataclass(frozen=True, slots=True)
class Kind:
    """Exports, or reports.

    Attributes:
        name: of one of them.
        record: returns the key of its hash.
        listed: returns the key of a job's list of them.
        active: key of the list of those unfinished.
    """

    name: str
    record: Callable[[str], str]
    listed: Callable[[str], str]
    active: str


EXPORT: Final = Kind("export", export_record, job_exports_key, EXPORTS_ACTIVE)
REPORT: Final = Kind("report", report_record, job_reports_key, REPORTS_ACTIVE)


class Builds:
    """Records of one kind, by their ids. Safe to use from several threads."""

    def __init__(self, records: Records, kind: Kind) -> None:
        self._records = records
        self._redis = records.redis
        self._kind = kind

    def open(self, job: str, build: str, fields: Mapping[str, str | int]) -> bool:
        """Record what is wanted, unless it is there already; one that failed begins anew.

        Returns:
            Whether it has to be queued.

        Raises:
            JobNotFound
        """
        kind = self._kind
        known = dict(fields) | {"state": "queued", "error": "", "attempts": 0}
        places = [job, build, kind.record(build), kind.listed(job), kind.active]
        new = self._records.scripts.build(args=[*places, *(part for pair in known.items() for part in pair)])
        if new is None:
            self._records.job(job)
        return bool(new)

    def fields(self, build: str) -> dict[str, Any]:
        """Return the fields of a record; none if there is none."""
        return dict(self._redis.hgetall(self._kind.record(build)))

    def of_job(self, job: str) -> list[str]:
        """Return the ids of a job, the newest first. Raises JobNotFound."""
        self._records.job(job)
        return list(self._redis.zrevrange(self._kind.listed(job), 0, -1))

    def note(self, build: str, **fields: str | int) -> bool:
        """Change a record; False, and nothing is written, if it was deleted meanwhile."""
        return self._records.change(self._kind.record(build), fields)

    def stalled(self, seconds: float) -> list[str]:
        """Return what is unfinished and was not heard of for a time, and note that it was looked at."""
        found = self._redis.zrangebyscore(self._kind.active, "-inf", time.time() - seconds)
        for build in found:
            self._seen(build)
        return list(found)

    def keep(self, build: str, *, lease_seconds: float) -> None:
        """Say that the work on it goes on."""
        self._redis.expire(lock_of(self._kind.record(build)), math.ceil(lease_seconds))
        self._seen(build)

    def run(self, build: str, write: Callable[[], bool], *, lease_seconds: float, max_attempts: int) -> bool:
        """Build something, unless it is built or someone is at it.

        Its message may come again while it is being built, if that takes long: nothing tells this from the end of the
        process that built it but the silence, after which the sweep queues it again.

        Args:
            build: its id.
            write: does a piece of the work, notes what is done with `state="done"`, and says whether all is.
            lease_seconds: of silence, after which someone else may begin.
            max_attempts: before it fails, if the process ends each time.

        Returns:
            Whether a piece is left to do, which wants a message of its own.
        """
        record = self._kind.record(build)
        state, job, attempts = self._redis.hmget(record, "state", "job", "attempts")
        if not job or state in ("done", "failed"):
            return False
        names = {"job": job, "request_id": self._redis.hget(job_key(job), "request_id") or "", self._kind.name: build}
        with log_context(**names):
            lock, builder = lock_of(record), new_id()
            if not self._redis.set(lock, builder, nx=True, ex=math.ceil(lease_seconds)):
                return False
            self._seen(build)
            error: TocoError | None = None
            is_whole = True
            self.note(build, attempts=int(attempts) + 1)
            if int(attempts) >= max_attempts:
                error = BuildFailed(f"The worker process ended at every attempt to build this {self._kind.name}.")
            else:
                try:
                    self.note(build, state="running")
                    is_whole = write()
                    self.note(build, attempts=0)
                except TocoError as found:
                    error = found
                except Exception as found:
                    logger.exception("%s failed", self._kind.name)
                    error = BuildFailed(f"{type(found).__name__}: {found}", fix="See the worker's log.")
            if error is not None:
                self.note(build, state="failed", error=ItemError.of(error).model_dump_json())
                logger.warning("%s failed", self._kind.name, extra={"detail": str(error)})
            if error is not None or is_whole:
                self._redis.zrem(self._kind.active, build)
            self._records.scripts.unlock(args=[lock, builder])
            return error is None and not is_whole

    def _seen(self, build: str) -> None:
        self._redis.zadd(self._kind.active, {build: time.time()}, xx=True)
