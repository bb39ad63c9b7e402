"""What is tried again, and when: decided from an error and what was tried before, and from nothing else."""

from typing import Final

from toco.model.errors import TocoError

_PASSING_KINDS: Final = frozenset({"unavailable", "internal", "limited"})
# What is missing or half there may be on its way: a store that is mounted again, a model that is being copied.
_PASSING_CODES: Final = frozenset({"object_not_found", "model_not_found", "invalid_checkpoint"})


def may_pass(error: TocoError) -> bool:
    """Say whether the same work may succeed later although nobody changed what was asked for."""
    return error.kind in _PASSING_KINDS or error.code in _PASSING_CODES


def seconds_until_retry(error: TocoError, attempt: int, *, max_attempts: int, delay_seconds: float) -> float | None:
    """Return how long an item waits for its next attempt, or None if there is none.

    Args:
        error: why the attempt failed.
        attempt: its number, from 1.
        max_attempts: that an item gets.
        delay_seconds: wait after the first attempt; it doubles each time.
    """
    if attempt >= max_attempts or not may_pass(error):
        return None
    return delay_seconds * float(2 ** (attempt - 1))
