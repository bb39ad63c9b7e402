"""Labels that annotation tools ask for again and again: each is made once.

Label Studio asks for every task of a selection again after a time-out, and interactive mode asks for one task with
every click; the same photo with the same tags and settings is the same item.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from toco.jobs.api_keys import ApiKey
from toco.jobs.ids import item_id
from toco.jobs.job import ItemRecord, JobOptions
from toco.jobs.keys import shared_label_key
from toco.service.annotation.task_image import TaskImage
from toco.service.api.state import AppState
from toco.service.api.submission import MAX_NAME, MAX_TAGS, JobRequest, Photo, Submission

_KEPT_SECONDS: Final = 7 * 86_400
_OUTPUTS: Final = ("cam", "pseudo_mask")


@dataclass(frozen=True, slots=True)
class Place:
    """An item.

    Attributes:
        job, item: ids.
    """

    job: str
    item: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A photo to be labelled.

    Attributes:
        name: for lists and exports.
        image: the photo.
        tags: as written; None lets the classifier find them.
    """

    name: str
    image: TaskImage
    tags: tuple[str, ...] | None


class SharedLabels:
    """Submits photos as one job, and finds those that were labelled before.

    Args:
        state: of the application.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._redis = state.records.redis

    def place(self, wanted: Sequence[Wanted], request: JobRequest, caller: ApiKey, *, request_id: str) -> list[Place]:
        """Return the item of each photo; what was not asked for before is queued now.

        Args:
            wanted: photos without error.
            request: the settings; its outputs are set here.
            caller: whose quota is used.
            request_id: for the logs.

        Raises:
            ModelNotFound, InvalidOption, UnknownTag, LimitReached, StorageFull, StorageUnavailable
        """
        request = replace(request, outputs=_OUTPUTS, priority="interactive")
        submission = Submission(self._state, caller, request, request_id=request_id)
        wanted = [Wanted(photo.name, photo.image, _bounded(photo.tags)) for photo in wanted]
        keys = [self._key(photo, submission.options, caller.workspace) for photo in wanted]
        places = {key: place for key in dict.fromkeys(keys) if (place := self._known(key)) is not None}
        fresh = {key: photo for key, photo in zip(keys, wanted, strict=True) if key not in places}
        if fresh:
            job, _ = submission.submit(_photo(photo) for photo in fresh.values())
            for position, key in enumerate(fresh):
                places[key] = Place(job.id, item_id(position))
                self._redis.set(key, f"{job.id}:{places[key].item}", ex=_KEPT_SECONDS)
        return [places[key] for key in keys]

    def items(self, places: Iterable[Place]) -> dict[Place, ItemRecord]:
        """Return the records of items; those that are gone are left out."""
        by_job: dict[str, list[str]] = {}
        for place in dict.fromkeys(places):
            by_job.setdefault(place.job, []).append(place.item)
        return {
            Place(job, record.id): record
            for job, names in by_job.items()
            for record in self._state.records.items(job, names)
        }

    def _known(self, key: str) -> Place | None:
        found = self._redis.get(key)
        if not found:
            return None
        job, _, item = str(found).partition(":")
        record = self.items([Place(job, item)]).get(Place(job, item))
        return Place(job, item) if record is not None and record.state in ("queued", "running", "done") else None

    def _key(self, photo: Wanted, options: JobOptions, workspace: str) -> str:
        image = photo.image
        source = image.content if not image.key else self._state.store.head(image.key).etag.encode()
        said = [workspace, image.key, hashlib.sha256(source).hexdigest(), repr(photo.tags), options.model_dump_json()]
        return shared_label_key(hashlib.sha256("|".join(said).encode()).hexdigest())


def is_settled(record: ItemRecord | None) -> bool:
    """Say whether an item will not change any more by itself; a deleted one (None) will not."""
    return record is None or record.state not in ("queued", "running")


def _bounded(tags: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Cut tags to what a job takes: one task that somebody pasted a page into must not stop the others."""
    return None if tags is None else tuple(tag[:MAX_NAME] for tag in tags[:MAX_TAGS])


def _photo(wanted: Wanted) -> Photo:
    if wanted.image.key:
        return Photo(wanted.name, wanted.tags, key=wanted.image.key)
    return Photo(wanted.name, wanted.tags, content=wanted.image.content, header=wanted.image.header)
