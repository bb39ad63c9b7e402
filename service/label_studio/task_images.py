"""The photo of a task: from Label Studio itself, the web, the configured object store, or the task's own text."""

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from toco.jobs.outbound import ForbiddenAddress, Outbound, OutboundFailed, OutboundTooLarge
from toco.jobs.settings import Settings
from toco.jobs.store import Store, require_key
from toco.model.errors import TocoError
from toco.service.annotation.task_image import TaskImage
from toco.service.label_studio.tool_api import LabelStudioApi

_THREADS: Final = 8
_STORES: Final = frozenset({"s3", "gs", "az", "azure", "abfs"})


class NoImage(TocoError):
    """The task names no photo that can be had."""

    code = "no_image"
    kind = "invalid"


class TaskImages:
    """Fetches photos. Safe to use from several threads.

    Args:
        settings: limits, and the object store's address.
        store: the object store.
        outbound: for addresses that tasks name.
        label_studio: for photos that it keeps.
    """

    def __init__(self, settings: Settings, store: Store, outbound: Outbound, label_studio: LabelStudioApi) -> None:
        self._settings = settings
        self._store = store
        self._outbound = outbound
        self._label_studio = label_studio

    def fetch_all(
        self,
        references: Sequence[object],
        *,
        seconds: float,
        recall: Callable[[object], TaskImage | None] = lambda _: None,
    ) -> list[TaskImage]:
        """Fetch several photos at once; those that are not there in time are given up.

        Args:
            references: what the tasks have for a photo.
            seconds: how long all of it may take.
            recall: returns the photo of a reference where it is at hand already.
        """
        deadline = time.monotonic() + seconds

        def one(reference: object) -> TaskImage:
            try:
                return recall(reference) or self.fetch(reference, seconds=deadline - time.monotonic())
            except TocoError as error:
                return TaskImage(error=error)

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="task-image") as pool:
            return list(pool.map(one, references))

    def fetch(self, reference: object, *, seconds: float) -> TaskImage:
        """Fetch one photo.

        Args:
            reference: `/data/...` on the Label Studio, http(s), `s3://` and the like, or a data URI.
            seconds: how long it may take.

        Raises:
            NoImage: no such thing.
            ForbiddenAddress, OutboundFailed, OutboundTooLarge, ObjectNotFound, StorageUnavailable
        """
        if not isinstance(reference, str) or not reference.strip():
            raise NoImage(f"The task's image is {reference!r:.100}.", fix="Give each task the address of a photo.")
        reference = reference.strip()
        scheme = reference.partition(":")[0].lower()
        if scheme == "data":
            return TaskImage(_data_uri(reference, self._settings.max_image_bytes))
        if scheme in _STORES:
            return TaskImage(key=self._key(reference))
        if seconds <= 0:
            raise OutboundFailed("There was no time left to fetch the photo.", fix="Ask again for fewer tasks.")
        own = self._label_studio.address_of(reference)
        most = self._settings.max_image_bytes
        if own is not None:
            answer = self._label_studio.fetch(own, max_bytes=most, seconds=seconds)
        else:
            answer = self._outbound.get(reference, max_bytes=most, seconds=seconds)
        if answer.status != HTTPStatus.OK:
            fix = "Check TOCO_LABEL_STUDIO_TOKEN." if own and answer.status in (401, 403, 404) else "Check the address."
            raise NoImage(f"{reference[:200]!r} is answered with {answer.status}.", fix=fix)
        return TaskImage(answer.body)

    def _key(self, reference: str) -> str:
        """Return the key of an object that may be labelled in place.

        Raises:
            ForbiddenAddress, InvalidObjectKey, ObjectNotFound
        """
        base = self._settings.effective_store_url.rstrip("/") + "/"
        key = unquote(reference).removeprefix(base)
        inside = self._settings.input_prefix
        if not unquote(reference).startswith(base) or not inside or not key.startswith(inside):
            raise ForbiddenAddress(
                f"{reference[:200]!r} is not under the inputs of the configured store.",
                fix=f"Store photos under {base}{inside or 'a TOCO_INPUT_PREFIX'}, or let Label Studio sign its links.",
            )
        self._store.head(require_key(key))
        return key


def _data_uri(text: str, most: int) -> bytes:
    head, _, body = text.partition(",")
    if len(body) > 2 * most:
        raise OutboundTooLarge(f"A data URI of {len(body):,} characters.", fix="Use an address.")
    try:
        data = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise NoImage(f"The data URI is broken: {error}.", fix="Use base64, or an address.") from None
    if len(data) > most:
        raise OutboundTooLarge(f"A data URI of {len(data):,} bytes.", fix="Use a smaller photo.")
    return data
