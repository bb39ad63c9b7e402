"""Webhooks: telling another server that a job ended.

An ended job enters a list of due events in the same script that ends it, so no event is lost; it leaves the list when
it is delivered or given up. The same event may arrive twice: its id tells. An attempt counts before it is made, and the
next is due then: whatever becomes of this one, none is made without end. Why the last one failed is shown on the job.

References:
    Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks): headers and signature.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from toco.jobs.job import JobRecord
from toco.jobs.keys import WEBHOOK_ATTEMPTS, WEBHOOKS, claim_of, job_key
from toco.jobs.logs import log_context
from toco.jobs.outbound import Outbound, OutboundFailed
from toco.jobs.records import JobNotFound, Records
from toco.jobs.settings import Settings
from toco.model.errors import TocoError

logger = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 3600.0
_AT_ONCE: Final = 8  # receivers that may be slow without holding up the others
_ERRAND_SECONDS: Final = 60.0  # what is still due then waits for the next errand; exports get their turn
EVENT: Final = "job.finished"


def sign(secret: str, event: str, timestamp: int, body: bytes) -> str:
    """Return the value of the `webhook-signature` header.

    Args:
        secret: `whsec_` and base64, or any other text, which is used as it is.
        event: id of the event.
        timestamp: seconds since 1970.
        body: as it is sent.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = secret.encode()
    digest = hmac.new(key, f"{event}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Delivers due events."""

    def __init__(self, settings: Settings, records: Records, outbound: Outbound) -> None:
        self._settings = settings
        self._records = records
        self._redis = records.redis
        self._outbound = outbound

    def any_due(self) -> bool:
        """Say whether an event waits to be sent."""
        return bool(self._redis.zcount(WEBHOOKS, "-inf", time.time()))

    def deliver_due(self) -> int:
        """Send the events that are due; return how many were delivered."""
        ends = time.monotonic() + _ERRAND_SECONDS
        due = self._redis.zrangebyscore(WEBHOOKS, "-inf", time.time(), start=0, num=100)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook") as pool:
            return sum(pool.map(lambda event: time.monotonic() < ends and self._claimed(event), due))

    def _claimed(self, event: str) -> bool:
        seconds = math.ceil(2 * self._settings.outbound_timeout_seconds) + 10
        if not self._redis.set(claim_of(WEBHOOKS, event), 1, nx=True, ex=seconds):
            return False
        try:
            return self._deliver(event)
        finally:
            self._redis.delete(claim_of(WEBHOOKS, event))

    def _deliver(self, event: str) -> bool:
        try:
            record = self._records.job(event.partition(":")[0])
        except JobNotFound:
            self._over(event)
            return False
        with log_context(job=record.id, request_id=record.request_id):
            return self._tell(event, record)

    def _tell(self, event: str, record: JobRecord) -> bool:
        body = json.dumps({"type": EVENT, "timestamp": _iso(time.time()), "data": _described(record)}).encode()
        moment = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": event.replace(":", "-"),
            "webhook-timestamp": str(moment),
        }
        secret = self._redis.hget(job_key(record.id), "webhook_secret")
        if not secret and self._settings.webhook_secret is not None:
            secret = self._settings.webhook_secret.get_secret_value()
        if secret:
            headers["webhook-signature"] = sign(secret, headers["webhook-id"], moment, body)
        attempts = self._count(event)
        try:
            answer = self._outbound.post(record.webhook, body, headers=headers)
            if not 200 <= answer.status < 300:
                raise OutboundFailed(f"The webhook was answered with {answer.status}.")
        except TocoError as error:
            given_up = attempts >= self._settings.webhook_attempts or error.kind == "forbidden"
            self._records.note(record.id, webhook_error=f"{'Given up: ' if given_up else ''}{error}")
            logger.warning("webhook failed", extra={"event": event, "attempts": attempts, "given_up": given_up})
            if given_up:
                self._over(event)
            return False
        self._over(event)
        self._records.note(record.id, webhook_error="")
        logger.info("webhook delivered", extra={"event": event})
        return True

    def _count(self, event: str) -> int:
        """Count an attempt, say when the next would be due, and return how many there were."""
        attempts = int(self._redis.hincrby(WEBHOOK_ATTEMPTS, event, 1))
        self._redis.zadd(WEBHOOKS, {event: time.time() + wait_before(attempts + 1)})
        return attempts

    def _over(self, event: str) -> None:
        self._redis.zrem(WEBHOOKS, event)
        self._redis.hdel(WEBHOOK_ATTEMPTS, event)


def wait_before(attempt: int) -> float:
    """Return the seconds before an attempt (2 is the first that waits): twice as long each time, spread a little."""
    wait: float = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (attempt - 2))
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing


def _described(record: JobRecord) -> dict[str, object]:
    return {
        "job": record.id,
        "name": record.name,
        "state": record.state,
        "counts": record.counts,
        "total": record.total,
        "model_version": record.options.model_version,
        "created_at": _iso(record.created_at),
        "finished_at": _iso(record.finished_at or time.time()),
    }


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
