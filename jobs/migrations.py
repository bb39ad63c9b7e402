"""Records that can change: numbered steps from what an older version wrote to what this one reads.

`toco:schema` holds the number that all records have reached (absent: 1, what was written before there were numbers),
and every record carries the number that it has reached itself in its field `schema`. A step changes one record and its
indices in one transaction, and only if the record stands at a lower number. So a step that broke off goes on where it
stopped, and any number of processes may take it at once.

To add one: write a function as those below, append a `Migration`, test it in `tests/jobs/test_migrations.py`.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import redis

from toco.jobs.keys import (
    API_KEYS,
    JOBS,
    SCHEMA_NUMBER,
    TRAININGS,
    UPLOADS,
    api_key_record,
    export_record,
    item_key,
    job_exports_key,
    job_key,
    jobs_in_state,
    jobs_in_workspace,
    order_key,
    training_record,
    upload_record,
)
from toco.model.errors import TocoError

logger = logging.getLogger(__name__)

Kind = Literal["job", "item", "export", "upload", "key", "training"]

_PAGE: Final = 200  # records changed in one transaction
_PAUSE_SECONDS: Final = 1.0  # between two tries while the server is away

# Reads the hashes KEYS in one round trip.
_READ: Final = """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGETALL', key) end
return found
"""

# The number never falls: a slow process may end an old step after a fast one ended the next.
_REACH: Final = """
if tonumber(redis.call('GET', KEYS[1]) or '1') < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
"""


class SchemaTooNew(TocoError):
    """The records were written by a newer version, which this one cannot read."""

    code = "schema_too_new"
    kind = "conflict"


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record is stored.

    Attributes:
        kind: of the record.
        id: of the record; of an item, within its job.
        job: that it is of, or that it is; empty for uploads and keys.
        key: of its hash.
    """

    kind: Kind
    id: str
    job: str
    key: str


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it is stored.

    Attributes:
        place: where.
        fields: of its hash.
    """

    place: RecordPlace
    fields: Mapping[str, str]


Change = Callable[[Any, StoredRecord], None]


@dataclass(frozen=True, slots=True)
class Migration:
    """A step.

    Attributes:
        number: the schema that it leads to.
        title: what changes, in a few words.
        changes: by kind of record, a function that queues commands on a transaction; the runner notes the number.
            A kind that is not named gets the number alone.
    """

    number: int
    title: str
    changes: Mapping[Kind, Change]


def _index_by_state(transaction: Any, job: StoredRecord) -> None:
    """Jobs can be listed by their state without reading all."""
    transaction.zadd(jobs_in_state(job.fields["state"]), {job.place.id: 0})


def _into_default(transaction: Any, record: StoredRecord) -> None:
    """What was everybody's belongs to the workspace of keys that name none."""
    transaction.hset(record.place.key, "workspace", "default")
    if record.place.kind == "job":
        transaction.zadd(jobs_in_workspace("default"), {record.place.id: 0})


MIGRATIONS: Final = (
    Migration(2, "records carry their schema; an index of jobs by state", {"job": _index_by_state}),
    Migration(3, "workspaces", {"job": _into_default, "upload": _into_default, "key": _into_default}),
)
SCHEMA: Final = MIGRATIONS[-1].number


def schema_of(client: "redis.Redis") -> int:
    """Return the schema that all records have reached."""
    return int(str(client.get(SCHEMA_NUMBER) or 1))


def migrate(client: "redis.Redis", *, to: int = SCHEMA) -> int:
    """Bring all records to a schema. Safe to run in several processes at once, and again after one was killed.

    Processes of older versions must have ended: they would go on writing what they know.

    Args:
        client: answers with text.
        to: number to reach.

    Returns:
        The number that they had.

    Raises:
        SchemaTooNew: they are beyond what this version knows.
    """
    before = schema_of(client)
    if before > SCHEMA:
        raise SchemaTooNew(
            f"The records have schema {before}; this version reads up to {SCHEMA}.",
            fix="Start the newer version again, or bring back the backup made before the upgrade.",
        )
    for migration in MIGRATIONS:
        if before < migration.number <= to:
            count = sum(_apply(client, migration, page) for page in _pages(client))
            client.eval(_REACH, 1, SCHEMA_NUMBER, str(migration.number))
            logger.info("records migrated", extra={"schema": migration.number, "what": migration.title, "count": count})
    return before


def migrate_patiently(client: "redis.Redis", stopped: threading.Event) -> None:
    """Bring all records to this version's schema as soon as the server answers, unless told to stop before.

    Raises:
        SchemaTooNew
    """
    while not stopped.is_set():
        try:
            migrate(client)
        except redis.RedisError as error:
            logger.warning("the records cannot be brought up to date yet", extra={"detail": str(error)})
            stopped.wait(_PAUSE_SECONDS)
        else:
            return


def _pages(client: Any) -> Iterator[list[RecordPlace]]:
    """Yield where all records are, some at a time; a job comes after its parts."""

    def listed(kind: Kind, index: str, key_of: Callable[[str], str], job: str = "") -> Iterator[list[RecordPlace]]:
        names = client.zrange(index, 0, -1)
        for start in range(0, len(names), _PAGE):
            yield [RecordPlace(kind, name, job, key_of(name)) for name in names[start : start + _PAGE]]

    yield from listed("key", API_KEYS, api_key_record)
    yield from listed("upload", UPLOADS, upload_record)
    yield from listed("training", TRAININGS, training_record)
    for job in client.zrange(JOBS, 0, -1):
        yield from listed("item", order_key(job, "index"), partial(item_key, job), job)
        yield from listed("export", job_exports_key(job), export_record, job)
        yield [RecordPlace("job", job, job, job_key(job))]


def _apply(client: Any, migration: Migration, page: list[RecordPlace]) -> int:
    """Take a step with some records; return how many it changed."""
    keys = [place.key for place in page]
    with client.pipeline(transaction=True) as transaction:
        while True:
            transaction.watch(*keys)
            found = transaction.eval(_READ, len(keys), *keys)
            transaction.multi()
            changed = 0
            for place, flat in zip(page, found, strict=True):
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                if not fields or int(fields.get("schema", 1)) >= migration.number:
                    continue
                if place.kind in migration.changes:
                    migration.changes[place.kind](transaction, StoredRecord(place, fields))
                transaction.hset(place.key, "schema", migration.number)
                changed += 1
            try:
                transaction.execute()
            except redis.WatchError:
                continue  # another process changed one of them in between
            return changed
