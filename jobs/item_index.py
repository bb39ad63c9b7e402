"""Finding items of a job: filtered, sorted, a page at a time."""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from toco.jobs.ids import new_id
from toco.jobs.job import Decision, ItemRecord, ItemState
from toco.jobs.keys import item_set, job_key, order_key, query_key
from toco.jobs.records import Measure, Records
from toco.model.errors import TocoError

_QUERY_SECONDS: Final = 30  # how long an intermediate result stays if its reader dies
_PAGE_ITEMS: Final = 500


class InvalidCursor(TocoError):
    """A cursor was not made by this service."""

    code = "invalid_cursor"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items of a job, in which order.

    Attributes:
        state: only these.
        tag: only items with this canonical class name.
        decision: only items with this verdict.
        undecided: only items without a verdict.
        ranges: lowest and highest value by measure, both inclusive.
        order: what to sort by; a measure other than `index` keeps labelled items only.
        descending: highest first.
    """

    state: ItemState | None = None
    tag: str | None = None
    decision: Decision | None = None
    undecided: bool = False
    ranges: Mapping[Measure, tuple[float, float]] | None = None
    order: Measure = "index"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some of the items that a query finds.

    Attributes:
        items: in the order asked for.
        cursor: of the next page, or None.
        total: how many the query finds in all.
    """

    items: list[ItemRecord]
    cursor: str | None
    total: int


class ItemIndex:
    """Searches the sorted sets that `transitions` keeps. Safe to use from several threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._redis = records.redis

    def each(self, job: str, query: ItemQuery) -> Iterator[ItemRecord]:
        """Read all items that a query finds, holding a page at a time. Raises JobNotFound."""
        cursor: str | None = None
        while True:
            page = self.find(job, query, cursor=cursor, limit=_PAGE_ITEMS)
            yield from page.items
            cursor = page.cursor
            if cursor is None:
                return

    def find(self, job: str, query: ItemQuery, *, cursor: str | None = None, limit: int = 100) -> ItemPage:
        """Return a page of items.

        Raises:
            JobNotFound, InvalidCursor
        """
        after = _read_cursor(cursor) if cursor else None
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.exists(job_key(job))
        order, temporary = _select(pipeline, job, query)
        pipeline.zcard(order)
        if after is not None:
            score, item = after
            (pipeline.zrevrank if query.descending else pipeline.zrank)(order, item)
            pipeline.zscore(order, item)
            bounds = (score, "+inf") if query.descending else ("-inf", score)
            pipeline.zcount(order, *bounds)
        answers = pipeline.execute()
        if not answers[0]:
            self._records.job(job)  # says that there is none
        if after is None:
            start, total = 0, int(answers[-1])
        else:
            total, rank, score_now, passed = answers[-4:]
            # The item of the cursor may have left the selection since: go on behind everything up to its value.
            start = rank + 1 if rank is not None and score_now == after[0] else passed
        found = self._redis.zrange(order, start, start + limit - 1, desc=query.descending, withscores=True)
        if temporary:
            self._redis.delete(*temporary)
        items = self._records.items(job, [item for item, _ in found])
        more = bool(found) and start + len(found) < total
        return ItemPage(items, _write_cursor(found[-1][1], found[-1][0]) if more else None, int(total))


def _select(pipeline: Any, job: str, query: ItemQuery) -> tuple[str, list[str]]:
    """Queue the commands that narrow a job's items down; return the sorted set to read, and those to delete after."""
    order = order_key(job, query.order)
    wanted = {"state": query.state, "tag": query.tag, "decision": query.decision}
    sets = [item_set(job, kind, value) for kind, value in wanted.items() if value]
    if not (sets or query.ranges or query.undecided):
        return order, []
    chosen = query_key(new_id())
    temporary = [chosen]
    for measure, (low, high) in (query.ranges or {}).items():
        part = f"{chosen}:{measure}"
        temporary.append(part)
        pipeline.zrangestore(part, order_key(job, measure), low, high, byscore=True)
    pipeline.zinterstore(chosen, {order: 1} | dict.fromkeys([*sets, *temporary[1:]], 0))
    if query.undecided:
        pipeline.zdiffstore(chosen, [chosen, *(item_set(job, "decision", decision) for decision in get_args(Decision))])
    for key in temporary:
        pipeline.expire(key, _QUERY_SECONDS)
    return chosen, temporary


def _write_cursor(score: float, item: str) -> str:
    return base64.urlsafe_b64encode(f"{score!r}:{item}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    fault = InvalidCursor(f"{cursor!r} is no cursor.", fix="Use the `next` value of the page before.")
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        score, _, item = text.partition(":")
        position = float(score)
    except (ValueError, binascii.Error):
        raise fault from None
    if not (item.isdigit() and math.isfinite(position)):
        raise fault
    return position, item
