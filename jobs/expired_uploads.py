"""Removing resumable uploads whose time is over; the API begins and fills them (`toco.jobs.uploads`)."""

import time
from typing import Final

from toco.jobs.keys import UPLOADS, upload_record
from toco.jobs.records import Records
from toco.jobs.store import Store, upload_prefix

_MOST: Final = 20  # uploads removed at once


def remove_upload(records: Records, store: Store, upload: str) -> None:
    """Remove an upload: its bytes first, so that one removed in part is found again. Raises StorageUnavailable."""
    store.delete_prefix(upload_prefix(upload))
    records.redis.delete(upload_record(upload))
    records.redis.zrem(UPLOADS, upload)


def any_expired_uploads(records: Records) -> bool:
    """Say whether the time of an upload is over."""
    return bool(records.redis.zcount(UPLOADS, "-inf", time.time()))


def remove_expired_uploads(records: Records, store: Store) -> int:
    """Remove some of the uploads whose time is over; return how many. Raises StorageUnavailable."""
    expired = records.redis.zrangebyscore(UPLOADS, "-inf", time.time(), start=0, num=_MOST)
    for upload in expired:
        remove_upload(records, store, upload)
    return len(expired)
