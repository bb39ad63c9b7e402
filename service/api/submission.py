"""From a request to a job: options frozen, tags checked, photos probed and stored, records written, work queued."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from toco.jobs.api_keys import ApiKey
from toco.jobs.idempotency import Promise
from toco.jobs.ids import item_id
from toco.jobs.job import ItemError, JobOptions, JobRecord, NewItem, Priority
from toco.jobs.learning import NewLearning, own_name, plan_of_job
from toco.jobs.model_catalogue import KnownModel
from toco.jobs.model_names import require_name
from toco.jobs.outbound import refuse_forbidden
from toco.jobs.queue import QueueUnavailable
from toco.jobs.settings import Settings
from toco.jobs.store import ObjectNotFound, image_key, masks_key, require_key
from toco.model.cost import Cost, photo_cost, require_affordable
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import Output
from toco.model.formats.splits import part_called
from toco.model.learning.learnt_spec import require_tags
from toco.model.learning.planning import ONLY_BESIDE_WHOLE
from toco.model.options import SegmentationOptions
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import ImageHeader, probe_image
from toco.model.photos.names import InvalidName, UniqueNames, require_relative
from toco.model.photos.tag_check import TagCheck, UnknownTags, check_tags, settle_unknown
from toco.model.photos.tags import normalise_name
from toco.model.spec import ModelSpec
from toco.service.api.auth import use_quota
from toco.service.api.state import AppState

logger = logging.getLogger(__name__)

MAX_TAGS: Final = 256
MAX_NAME: Final = 512  # characters
_STORING_THREADS: Final = 4
_STORING_AHEAD: Final = 8  # photos held in memory at most


class EmptyJob(TocoError):
    """A job without a single photo."""

    code = "empty_job"
    kind = "invalid"


class TooManyFiles(TocoError):
    """More photos than one job may have."""

    code = "too_many_files"
    kind = "too_large"


class ClientGone(TocoError):
    """Nobody waits for the answer any more, so the work for it ends."""

    code = "client_gone"
    kind = "invalid"


class KeyNotAllowed(TocoError):
    """An object-store key lies outside the prefix that may be labelled in place."""

    code = "key_not_allowed"
    kind = "forbidden"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a request asks for beside its photos.

    Attributes:
        model: name, or empty for the default.
        preset: name.
        options: changes to the preset, nested as in `LabelOptions`.
        outputs: artifacts wanted; empty means the usual ones.
        unknown_tags: what is done about words that are not understood.
        mapping: the user's own words, folded; see `Mappings.folded`.
        name: how the user calls the job.
        priority: which queue.
        webhook: URL that hears of the end, or empty.
        webhook_secret: key of its signature, or empty.
        idempotency_key: or empty.
        learn_as: name of the model of what is learnt; empty makes one of the job's own name.
        again: a job whose photo is labelled again, with the words that it learnt.
    """

    model: str = ""
    preset: str = "balanced"
    options: dict[str, Any] | None = None
    outputs: tuple[Output, ...] = ()
    unknown_tags: UnknownTags = "learn"
    mapping: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    priority: Priority = "batch"
    webhook: str = ""
    webhook_secret: str = ""
    idempotency_key: str = ""
    learn_as: str = ""
    again: JobRecord | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that was sent, or a key of one that is in the store already.

    Attributes:
        name: as the user calls it.
        tags: as written; None lets the classifier find them.
        part: of the data set that its table names, as written, or empty.
        content: bytes, or None with `key`.
        key: of the object store, or empty.
        header: what is known of the content already; None lets the submission look.
        error: why it cannot be labelled; it becomes a failed item.
        masks: masks without classes to merge into its label, packed; see `pack_masks`.
    """

    name: str
    tags: tuple[str, ...] | None
    content: bytes | None = None
    key: str = ""
    header: ImageHeader | None = None
    error: TocoError | None = None
    part: str = ""
    masks: bytes = b""


class Submission:
    """One request on its way to a job.

    Args:
        state: of the application.
        caller: whose quota it uses.
        request: what is asked for.
        request_id: for the logs.
        gone: asked between photos: whether nobody waits for the answer any more.

    Raises:
        ModelNotFound, InvalidOption, TooCostly, AddressRefused: at once, before any photo is looked at.
    """

    def __init__(
        self,
        state: AppState,
        caller: ApiKey,
        request: JobRequest,
        *,
        request_id: str,
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._state = state
        self._caller = caller
        self._request = request
        self._request_id = request_id
        self._gone = gone
        known = state.catalogue.find(request.model, caller.workspace)
        self.spec: ModelSpec = known.spec
        self._known = known
        self._again = request.again if request.again and request.again.learnt else None
        self._vocabulary = Vocabulary(self._again.classes) if self._again else known.spec.vocabulary
        if request.learn_as:
            self._check_name(request.learn_as)
        self.options = frozen_options(known.spec, request, state.settings)
        if request.webhook:
            refuse_forbidden(request.webhook, state.settings)
        self._names = UniqueNames()

    def check_cost(self, tags: Sequence[str] | None, size: tuple[int, int] | None) -> None:
        """Raise TooCostly if labelling a photo with these tags and of this size would take more than is allowed."""
        number = None if tags is None else len(tags)
        cost = photo_cost(self.spec, self.options.label, tags=number, size=size)
        _require_affordable(cost, self._state.settings)

    def submit(self, photos: Iterable[Photo]) -> tuple[JobRecord, bool]:
        """Store the photos and make the job.

        A photo that is none, or passes a limit, becomes a failed item; the others are labelled all the same.

        Args:
            photos: taken one by one, so that few are in memory at once.

        Returns:
            The job, and whether it was there already (the same `Idempotency-Key`).

        Raises:
            ClientGone, EmptyJob, TooManyFiles, UnknownTag, KeyNotAllowed, LimitReached, StorageFull, StorageUnavailable
            IdempotencyConflict: the key was used for another request.
        """
        records = self._state.records
        job = records.begin_job()
        with self._cleaned_up(job):
            items = self._store_all(job, photos)
            if not items:
                raise EmptyJob("The request holds no photo.", fix="Send at least one image.")
            tags = check_tags((item.tags for item in items if item.tags), self._vocabulary, self._request.mapping)
            settle_unknown(self._request.unknown_tags, tags)
            learning = self._learning(job, items, tags)
            promise = self._promise(items)
            if promise and (earlier := records.promised(promise)):
                self._discard(job)
                return records.job(earlier), True
            use_quota(self._state, self._caller, len(items))
            record = records.create_job(
                job,
                items,
                self.options,
                name=self._request.name,
                priority=self._request.priority,
                key=self._caller.id,
                workspace=self._caller.workspace,
                request_id=self._request_id,
                webhook=self._request.webhook,
                webhook_secret=self._request.webhook_secret,
                promise=promise,
                tags=tags,
                vocabulary=self._vocabulary,
                learning=learning,
            )
            if record.id != job:  # the same request was faster on another way
                use_quota(self._state, self._caller, -len(items))
                self._discard(job)
                return record, True
        try:
            labelled = [item_id(n) for n, item in enumerate(items) if item.error is None]
            self._state.queue.go_on(record, labelled, learning.items)
        except QueueUnavailable:
            # The job is on record: the workers' sweep queues it as soon as the broker is back.
            logger.exception("job recorded but not queued", extra={"job": job})
        return record, False

    def _check_name(self, name: str) -> None:
        """Refuse a name under which learnt words cannot be published. Raises InvalidOption."""
        require_name(name)
        taken = self._state.catalogue.all(self._caller.workspace).known.get(name)
        if taken is not None and not (taken.workspace and taken.encoder):
            raise InvalidOption(f"{name!r} is the name of another model.", fix="Choose another for what is learnt.")

    def _learning(self, job: str, items: Sequence[NewItem], check: TagCheck) -> NewLearning:
        """Decide what the job learns before it is labelled."""
        if self._again is not None:
            return NewLearning(learnt=self._again.learnt)
        if self._request.unknown_tags != "learn" or not check.open_words:
            return NewLearning()
        name = self._request.learn_as or own_name(job, self._request.name)
        # Photos that were refused teach nothing.
        tags = [item.tags if item.error is None else None for item in items]
        return planned_learning(self._known, name, tags, self._request.mapping)

    def _store_all(self, job: str, photos: Iterable[Photo]) -> list[NewItem]:
        items: list[NewItem] = []
        waiting: deque[Future[NewItem]] = deque()
        with ThreadPoolExecutor(_STORING_THREADS, thread_name_prefix="store") as pool:
            try:
                for position, photo in enumerate(photos):
                    if self._gone():
                        raise ClientGone("The client went while its photos were taken in.", fix="Send the job again.")
                    if position >= self._state.settings.max_files_per_job:
                        raise TooManyFiles(
                            f"More than {self._state.settings.max_files_per_job} photos.", fix="Send several jobs."
                        )
                    if photo.tags is not None:
                        self._check_tag_list(photo)
                    named = self.unique_name(photo.name)
                    waiting.append(pool.submit(self._store_one, job, position, named, photo))
                    if len(waiting) >= _STORING_AHEAD:
                        items.append(waiting.popleft().result())
                items += [future.result() for future in waiting]
            finally:
                for future in waiting:
                    future.cancel()
        return items

    def _check_tag_list(self, photo: Photo) -> None:
        tags = photo.tags or ()
        if len(tags) > MAX_TAGS or any(len(tag) > MAX_NAME for tag in tags):
            raise InvalidOption(f"{photo.name!r} has too many or too long tags.", fix=f"Send at most {MAX_TAGS} tags.")

    def unique_name(self, name: str) -> str:
        """Return a contained relative path that no other photo of the job has; exports name files by it."""
        try:
            clean = require_relative(normalise_name(name)[:MAX_NAME])
        except InvalidName:
            clean = PurePosixPath(normalise_name(name).replace(":", "_")).name
            clean = "".join(sign if sign.isprintable() else "_" for sign in clean).replace("\\", "_").strip(". ")
            clean = clean[:MAX_NAME] or "image"
        return self._names.take(clean)

    def _store_one(self, job: str, position: int, name: str, photo: Photo) -> NewItem:
        settings = self._state.settings
        if photo.error is not None:
            return NewItem(name, "", tags=photo.tags, error=ItemError.of(photo.error))
        if photo.content is None:
            return self._existing(job, position, name, photo)
        key = image_key(job, item_id(position))
        digest = hashlib.sha256(photo.content).hexdigest()
        try:
            header = photo.header or look_at(photo.content, settings)
            self.check_cost(photo.tags, (header.height, header.width))
            if self._known.encoder:
                require_tags(self.spec.name, photo.tags)
        except TocoError as error:
            size = len(photo.content)
            return NewItem(name, "", digest=digest, size=size, tags=photo.tags, error=ItemError.of(error))
        self._state.store.put(key, photo.content)
        masks = self._store_masks(job, position, photo)
        return NewItem(
            name,
            key,
            digest=digest,
            size=len(photo.content),
            format=header.format,
            width=header.width,
            height=header.height,
            tags=photo.tags,
            part=part_called(photo.part),
            masks_key=masks,
        )

    def _store_masks(self, job: str, position: int, photo: Photo) -> str:
        """Keep the masks that came with a photo, unread: the worker reads them. Returns their key, or nothing."""
        if not photo.masks:
            return ""
        key = masks_key(job, item_id(position), hashlib.sha256(photo.masks).hexdigest()[:16])
        self._state.store.put(key, photo.masks)
        return key

    def _existing(self, job: str, position: int, name: str, photo: Photo) -> NewItem:
        """Describe a photo that stays where it is; the worker reads its header before decoding it."""
        prefix = self._caller.inputs(self._state.settings.input_prefix)
        if not prefix or not photo.key.startswith(prefix) or ".." in photo.key.split("/"):
            raise KeyNotAllowed(
                f"The key {photo.key!r} may not be labelled in place.",
                fix=f"Use keys under {prefix!r}." if prefix else "Upload the photos; labelling in place is off.",
            )
        require_key(photo.key)
        self.check_cost(photo.tags, None)
        try:
            found = self._state.store.head(photo.key)
        except ObjectNotFound as error:
            return NewItem(name, photo.key, tags=photo.tags, error=ItemError.of(error))
        masks = self._store_masks(job, position, photo)
        return NewItem(name, photo.key, size=found.size, tags=photo.tags, part=part_called(photo.part), masks_key=masks)

    def _promise(self, items: Sequence[NewItem]) -> Promise | None:
        if not self._request.idempotency_key:
            return None
        said = [self.options.model_dump_json(), self._request.name, self._request.webhook]
        said += [self._request.learn_as] if self._request.learn_as else []
        said += [f"{item.name}:{item.digest or item.image_key}:{item.tags}{item.part}" for item in items]
        said += [item.masks_key.rpartition("-")[2] for item in items if item.masks_key]
        fingerprint = hashlib.sha256("\n".join(said).encode()).hexdigest()
        return Promise(self._caller.id, self._request.idempotency_key, fingerprint)

    @contextmanager
    def _cleaned_up(self, job: str) -> Iterator[None]:
        """Remove what was stored for a job that does not come to be; should that fail too, the sweep does it later."""
        try:
            yield
        except BaseException:
            try:
                self._discard(job)
            except Exception:
                logger.exception("cannot remove an unfinished job yet", extra={"job": job})
            raise

    def _discard(self, job: str) -> None:
        self._state.records.delete_job(job)
        self._state.store.delete_prefix(f"jobs/{job}/")
        self._state.records.forget(job)


def planned_learning(
    known: KnownModel, name: str, tags: Sequence[Sequence[str] | None], mapping: Mapping[str, str]
) -> NewLearning:
    """Decide what a job learns before it is labelled; see `plan_of_job`.

    Args:
        known: the job's model.
        name: under which what is learnt is published.
        tags: of all its photos.
        mapping: the user's own words, folded.
    """
    if known.encoder:
        return NewLearning(why_not=ONLY_BESIDE_WHOLE)
    return plan_of_job(name, tags, known.spec.vocabulary, mapping)


def look_at(content: bytes, settings: Settings) -> ImageHeader:
    """Read the header of a photo at the door, once: what it says travels with the item.

    Raises:
        UnsupportedImageFormat, UnreadableImage, ImageTooLarge
    """
    return probe_image(content, max_pixels=settings.max_image_pixels, max_bytes=settings.max_image_bytes)


def frozen_options(spec: ModelSpec, request: JobRequest, limits: Settings) -> JobOptions:
    """Return the settings of a job, complete and checked.

    Raises:
        InvalidOption: an unknown preset, field or output, or a value out of range.
        TooCostly: even the smallest photo would take more memory or time than the limits allow.
    """
    label = spec.label_options(request.preset, **(request.options or {}))
    if "segmentation" in request.outputs and label.segmentation is None:
        label = label.model_copy(update={"segmentation": SegmentationOptions()})
    _require_affordable(photo_cost(spec, label, tags=1, size=(1, 1)), limits)
    return JobOptions(
        model=spec.name,
        model_version=spec.version,
        label=label,
        outputs=request.outputs,
        unknown_tags=request.unknown_tags,
        mapping=dict(request.mapping),
    )


def _require_affordable(cost: Cost, limits: Settings) -> None:
    require_affordable(cost, memory_bytes=limits.max_photo_memory_bytes, seconds=limits.max_photo_seconds)


def parse_options(text: str) -> dict[str, Any]:
    """Read changes to a preset from a JSON object.

    Raises:
        InvalidOption: no JSON, or no object.
    """
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a whole number that Python does not read: too many digits
        raise InvalidOption(
            f"options is not JSON: {str(error).partition(';')[0]}.", fix='Send an object such as {"refine": "none"}.'
        ) from None
    if not isinstance(found, dict):
        raise InvalidOption("options must be a JSON object.", fix='Send an object such as {"refine": "none"}.')
    return found
