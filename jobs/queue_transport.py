"""Celery's Redis transport, whose one slot comes free whatever the server says.

A worker takes one message at a time. kombu gives the slot back only after Redis has noted the acknowledgement: a
server that is away, full or read-only at that moment leaves the slot taken for good, and the worker, which asks for
nothing any more, does not even notice. Here the slot comes free all the same; the message stays unacknowledged in
Redis and is delivered once more after the visibility time-out, which changes nothing (see `transitions`).
"""

# kombu is typed in part.
# mypy: disable-error-code="no-untyped-call"

import logging
from collections.abc import Callable
from typing import Any, Final

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

logger = logging.getLogger(__name__)

TRANSPORT: Final = f"{__name__}:Transport"
_errors = kombu_redis.get_redis_error_classes()
_AWAY: Final[tuple[type[Exception], ...]] = (*_errors.connection_errors, *_errors.channel_errors)


class _FreeingQoS(kombu_redis.QoS):
    """Counts the messages in hand; Redis' note of them is wanted, but not waited for."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken; one that a full server cannot note is worked on all the same."""
        try:
            super().append(message, delivery_tag)
        except _errors.channel_errors as error:
            logger.warning("the broker cannot note a message that was taken", extra={"detail": str(error)})
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Take a message off the list."""
        self._free(delivery_tag, lambda: super(_FreeingQoS, self).ack(delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Take a message off the list, and put it back on its queue if asked."""
        self._free(delivery_tag, lambda: super(_FreeingQoS, self).reject(delivery_tag, requeue=requeue))

    def _free(self, delivery_tag: str, tell: Callable[[], None]) -> None:
        try:
            tell()
        except _AWAY as error:
            logger.warning("the broker cannot note an acknowledgement", extra={"detail": str(error)})
            virtual.QoS.ack(self, delivery_tag)


class _Channel(kombu_redis.Channel):
    QoS = _FreeingQoS


class Transport(kombu_redis.Transport):
    """The Redis transport with our count of messages in hand."""

    Channel = _Channel
