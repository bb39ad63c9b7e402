"""What is written of a job and its items when it is made."""

from collections.abc import Sequence
from typing import Any, Final

from toco.jobs.ids import item_id
from toco.jobs.job import NewItem
from toco.jobs.keys import item_key, item_set, order_key, unread_key
from toco.jobs.learning import NewLearning
from toco.jobs.migrations import SCHEMA

_PIPELINE_ITEMS: Final = 500


def write_items(client: Any, job: str, items: Sequence[NewItem], learning: NewLearning) -> None:
    """Write the items of a job that is not there yet, and which of them are read first."""
    for start in range(0, len(items), _PIPELINE_ITEMS):
        pipeline = client.pipeline(transaction=False)
        for position, new in enumerate(items[start : start + _PIPELINE_ITEMS], start):
            item, fields = item_id(position), new.to_hash()
            pipeline.zadd(order_key(job, "index"), {item: position})  # first: by it the others are found
            pipeline.hset(item_key(job, item), mapping=fields)
            pipeline.sadd(item_set(job, "state", str(fields["state"])), item)
        pipeline.execute()
    for start in range(0, len(learning.items), _PIPELINE_ITEMS):
        client.sadd(unread_key(job), *learning.items[start : start + _PIPELINE_ITEMS])


def first_fields(total: int) -> dict[str, str | int]:
    """Return what every job's hash begins with.

    Args:
        total: its items.
    """
    fields: dict[str, str | int] = {"schema": SCHEMA, "state": "queued", "total": total}
    return fields | dict.fromkeys(("cancel_requested", "revision", "running", "done", "cancelled"), 0)
