"""From a request to a training: photos found and stored, classes settled, what cannot be trained refused."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toco.jobs.api_keys import ApiKey
from toco.jobs.idempotency import Promise
from toco.jobs.ids import ID_PATTERN
from toco.jobs.item_index import ItemQuery
from toco.jobs.job import JobRecord
from toco.jobs.model_catalogue import KnownModel, ModelBroken, ModelNotFound
from toco.jobs.model_names import require_name
from toco.jobs.queue import QueueUnavailable
from toco.jobs.store import training_photo_key, training_set_key
from toco.jobs.training import NewTraining, SetPhoto, TrainingRecord, TrainingSet
from toco.jobs.training_set import TagReader, keep_aside
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.photos.understanding import Mapped
from toco.model.training.recipes import RECIPES, RecipeName, TrainingSettings, require_trainable
from toco.service.api.auth import use_quota
from toco.service.api.request_body import first_fault
from toco.service.api.schemas import Word
from toco.service.api.state import AppState
from toco.service.api.submission import ClientGone, Photo, TooManyFiles, look_at

logger = logging.getLogger(__name__)

_NOT_TAGGED: Final = "no tags"


class _LeftOut:
    """Photos that are not trained on, by reason; of each kind of error the first is told."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    def add(self, reason: str | TocoError) -> None:
        """Count a photo."""
        if isinstance(reason, TocoError) and reason.code != "empty_tags":
            code, text = reason.code, reason.detail.rstrip(".")
        else:
            code = text = _NOT_TAGGED if isinstance(reason, TocoError) else reason
        self._counts[code] += 1
        self._reasons.setdefault(code, text)

    def notes(self) -> list[str]:
        """Return what the user has to be told."""
        return [
            f"{count} {'photo was' if count == 1 else 'photos were'} left out: {self._reasons[code]}."
            for code, count in self._counts.items()
        ]


class TrainingTooLarge(TocoError):
    """A training of more steps than any may take."""

    code = "training_too_large"
    kind = "too_large"


class TrainingBody(BaseModel):
    """A model to be trained on the photos of a job, or of a finished resumable upload."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "kitchen", "job": "01k9z3v6m3q2f1x8a7b5c4d2e0", "preset": "quick"}]},
    )

    name: str = Field(description="Of the model; a new version of it if there is one.", max_length=64)
    job: Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}$|^$")] = Field("", description="Its photos and their tags.")
    upload: Annotated[str, Field(pattern=rf"{ID_PATTERN[:-1]}$|^$")] = Field("", description="A finished upload's id.")
    preset: RecipeName = "quick"
    settings: dict[str, Any] = Field(
        {}, description="Changes to the preset: steps, rounds, learning_rate, kept_aside, seed."
    )
    classes: list[Word] = Field([], max_length=254, description="Of the model. Empty: every word of the tags.")
    model: str = Field("", description="That it starts from. Empty: the default.")
    mapping: dict[str, str] | str = Field({}, description="Own words and their classes, or a kept mapping's name.")
    complete_tags: bool = Field(True, description="Whether tags name all the classes that a photo shows.")


@dataclass(frozen=True, slots=True)
class TrainingCall:
    """One request for a training.

    Attributes:
        state: of the application.
        caller: who makes it.
        body: what is asked for.
        mapping: the user's own words, folded.
        idempotency_key: or empty.
        request_id: for the logs.
        gone: whether nobody waits for the answer any more.
    """

    state: AppState
    caller: ApiKey
    body: TrainingBody
    mapping: Mapped = field(default_factory=dict)
    idempotency_key: str = ""
    request_id: str = ""
    gone: Callable[[], bool] = lambda: False

    def start(self, photos: Iterable[Photo] | None) -> tuple[TrainingRecord, bool]:
        """Make the training.

        Args:
            photos: that were sent, taken one by one; None takes those of the job that the body names.

        Returns:
            The training, and whether it was there already (the same `Idempotency-Key`).

        Raises:
            InvalidOption, JobNotFound, ModelNotFound, ModelBroken, TrainingTooLarge, TooManyFiles, LimitReached
            IdempotencyConflict: the key was used for another request.
            ClientGone, StorageFull, StorageUnavailable
        """
        settings = self._settings()
        name = self._name()
        start = self._start()
        trainings = self.state.trainings
        training = trainings.begin()
        with self._cleaned_up(training):
            reader = TagReader(start.spec.vocabulary, self.body.classes, self.mapping)
            left_out = _LeftOut()
            found = (
                self._sent(training, photos, reader, left_out) if photos is not None else self._of_job(reader, left_out)
            )
            gathered = list(found)
            tagged = Counter(tag for _, photo in gathered for tag in photo.tags)
            classes = tuple(self.body.classes) or tuple(tagged)
            if not classes:
                raise InvalidOption("No photo has a tag.", fix="Send tags with the photos.")
            require_trainable(classes, len(gathered), tagged)
            promise = self._promise(gathered)
            if promise and (earlier := trainings.promised(promise)):
                trainings.discard_begun(training)
                return trainings.get(earlier), True
            chosen = keep_aside([photo for _, photo in gathered], settings.kept_aside, settings.seed)
            listed = TrainingSet(photos=chosen, mask_values=self._mask_values(reader))
            self.state.store.put(training_set_key(training), listed.model_dump_json().encode())
            if photos is not None:
                use_quota(self.state, self.caller, len(chosen))
            kept = sum(photo.kept for photo in chosen)
            record = trainings.create(
                training,
                NewTraining(
                    name=name,
                    workspace=self.caller.workspace,
                    key=self.caller.id,
                    request_id=self.request_id,
                    recipe=self.body.preset,
                    settings=settings,
                    classes=classes,
                    start=start.spec.name,
                    start_version=start.spec.version,
                    job=self.body.job,
                    photos=len(chosen) - kept,
                    kept=kept,
                    notes=(*left_out.notes(), *reader.notes()),
                ),
                promise,
            )
            if record.id != training:  # the same request was faster on another way
                trainings.discard_begun(training)
                return record, True
        try:
            self.state.queue.train(training)
        except QueueUnavailable:
            logger.exception("training recorded but not queued; the sweep does it", extra={"training": training})
        return record, False

    def _name(self) -> str:
        name = require_name(self.body.name)
        with suppress(ModelNotFound, ModelBroken):
            if self.state.catalogue.find(name, self.caller.workspace).folder is not None:
                raise InvalidOption(f"A model in a folder is called {name!r}.", fix="Choose another name.")
        return name

    def _start(self) -> KnownModel:
        start = self.state.catalogue.find(self.body.model, self.caller.workspace)
        if start.encoder:
            raise InvalidOption(
                f"The model {start.spec.name!r} is learnt words, which have no network of their own.",
                fix="Start from a whole model; the words are learnt anew from the tags.",
            )
        return start

    def _settings(self) -> TrainingSettings:
        try:
            settings = TrainingSettings.model_validate(RECIPES[self.body.preset].model_dump() | self.body.settings)
        except ValidationError as error:
            raise InvalidOption(first_fault(error, "settings"), fix="See docs/training.md.") from None
        most = self.state.settings.max_training_steps
        if settings.all_steps > most:
            raise TrainingTooLarge(
                f"{settings.rounds} rounds of {settings.steps} steps are more than {most} steps.",
                fix="Train in fewer steps; TOCO_MAX_TRAINING_STEPS is the limit.",
            )
        return settings

    def _sent(
        self, training: str, photos: Iterable[Photo], reader: TagReader, left_out: _LeftOut
    ) -> Iterator[tuple[str, SetPhoto]]:
        """Store photos that were sent; yield each with its digest."""
        number = 0
        for photo in photos:
            self._go_on(number)
            if photo.tags is None or photo.content is None:
                left_out.add(photo.error or _NOT_TAGGED)
                continue
            try:
                look_at(photo.content, self.state.settings)
            except TocoError as error:
                left_out.add(error)
                continue
            key = training_photo_key(training, number)
            self.state.store.put(key, photo.content)
            yield (
                hashlib.sha256(photo.content).hexdigest(),
                self._photo(reader, photo.name, key, len(photo.content), photo.tags),
            )
            number += 1

    def _of_job(self, reader: TagReader, left_out: _LeftOut) -> Iterator[tuple[str, SetPhoto]]:
        """Yield the photos of a job with their digests; they stay where they are."""
        job: JobRecord = self.state.records.job(self.body.job)
        if not self.mapping:
            reader.use_mapping(job.options.mapping)
        for number, item in enumerate(self.state.index.each(job.id, ItemQuery())):
            self._go_on(number)
            if not item.image_key:
                left_out.add(item.error.detail.rstrip(".") if item.error else "it was refused")
            elif item.tags is None:
                left_out.add(_NOT_TAGGED)  # what the classifier found by itself teaches it nothing
            else:
                photo = self._photo(reader, item.name, item.image_key, item.size, item.tags)
                mask = item.key_of(PSEUDO_MASK) if item.revision.by_person else ""
                yield f"{item.digest or item.image_key}:{mask}", photo.model_copy(update={"mask": mask})

    def _mask_values(self, reader: TagReader) -> dict[int, str]:
        """Return which class of the training each value of the masks of the job means; nothing without its model."""
        if not self.body.job:
            return {}
        try:
            vocabulary = self.state.catalogue.vocabulary_of(self.state.records.job(self.body.job))
        except (ModelNotFound, ModelBroken):
            return {}
        meant = {entry.index: reader.meaning(entry.name) for entry in vocabulary}
        return {index: name for index, name in meant.items() if name}

    def _photo(self, reader: TagReader, name: str, key: str, size: int, written: Sequence[str]) -> SetPhoto:
        tags, sure = reader.read(written)
        return SetPhoto(name=name, key=key, size=size, tags=tags, complete=sure and self.body.complete_tags)

    def _go_on(self, number: int) -> None:
        if self.gone():
            raise ClientGone("The client went while its photos were taken in.", fix="Send the request again.")
        if number >= self.state.settings.max_files_per_job:
            raise TooManyFiles(
                f"More than {self.state.settings.max_files_per_job} photos.", fix="Train on fewer photos."
            )

    def _promise(self, gathered: Sequence[tuple[str, SetPhoto]]) -> Promise | None:
        if not self.idempotency_key:
            return None
        said = [self.body.model_dump_json(), json.dumps(dict(self.mapping), sort_keys=True)]
        said += [f"{photo.name}:{digest}:{photo.tags}" for digest, photo in gathered]
        fingerprint = hashlib.sha256("\n".join(said).encode(errors="surrogatepass")).hexdigest()
        return Promise(self.caller.id, self.idempotency_key, fingerprint)

    @contextmanager
    def _cleaned_up(self, training: str) -> Iterator[None]:
        """Let what was stored for a training that does not come to be go soon; should that fail too, within hours."""
        try:
            yield
        except BaseException:
            try:
                self.state.trainings.discard_begun(training)
            except Exception:
                logger.exception("an unfinished training goes later", extra={"training": training})
            raise
