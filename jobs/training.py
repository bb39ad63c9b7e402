"""What a training is: the values behind its records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from toco.jobs.job import DEFAULT_WORKSPACE, ItemError
from toco.model.options import Frozen
from toco.model.training.figures import TrainingFigures
from toco.model.training.recipes import TrainingSettings

TrainingState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
TrainingDecision = Literal["promoted", "discarded"]
FINAL_TRAINING_STATES: Final = frozenset({"succeeded", "failed", "cancelled"})


class SetPhoto(Frozen):
    """A photo of a training.

    Attributes:
        name: as the user calls it.
        key: where its bytes are in the object store.
        size: in bytes.
        tags: classes of the training that it shows.
        complete: whether it shows no others.
        kept: whether it is kept aside, to judge the model by.
        mask: key of a mask that a person made of it, or empty.
    """

    name: str
    key: str
    size: int
    tags: tuple[str, ...]
    complete: bool = True
    kept: bool = False
    mask: str = ""


class TrainingSet(Frozen):
    """All photos of a training.

    Attributes:
        photos: to train on, and kept aside.
        mask_values: what each value of the masks means: a class of the training; other values are none of them.
    """

    photos: tuple[SetPhoto, ...]
    mask_values: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class NewTraining:
    """What was asked for, frozen when the training is made.

    Attributes:
        name: of the model that comes out.
        workspace: whose keys see training and model.
        key: id of the API key that made it, or empty.
        request_id: of the request that made it.
        recipe: name of the recipe that the settings were taken from.
        settings: chosen.
        classes: of the model.
        start: name of the model that it starts from.
        start_version: its version.
        job: whose photos are trained on, or empty where they were sent.
        photos: to train on.
        kept: photos kept aside.
        notes: what does not fit, and what was left out.
    """

    name: str
    workspace: str
    key: str
    request_id: str
    recipe: str
    settings: TrainingSettings
    classes: tuple[str, ...]
    start: str
    start_version: str
    job: str
    photos: int
    kept: int
    notes: tuple[str, ...] = ()

    def to_hash(self) -> dict[str, str | int]:
        """Return the fields of its record."""
        return {
            "name": self.name,
            "workspace": self.workspace,
            "key": self.key,
            "request_id": self.request_id,
            "recipe": self.recipe,
            "settings": self.settings.model_dump_json(),
            "classes": json.dumps(self.classes),
            "start": self.start,
            "start_version": self.start_version,
            "job": self.job,
            "photos": self.photos,
            "kept": self.kept,
            "notes": json.dumps(self.notes),
        }


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """A training as it stands. Times are seconds since 1970.

    Attributes:
        id: of the training.
        asked: what was asked for.
        stage: what goes on: `fetching`, `round 1: learning`, `round 1: labelling`, `round 1: training`, `judging`.
        step, of: pieces of this stage that are done, and all.
        seconds_left: of this stage; None where nobody knows.
        losses: of the last step by name.
        attempts: how often a worker took it up since its last progress.
        error: why it failed, or why the last attempt did.
        figures: of the model, beside the one before; None before it is judged.
        version: number under which the model is published; None before.
        decision: what people decided on it; None before.
        revision: rises with every change.
    """

    id: str
    asked: NewTraining
    state: TrainingState
    stage: str
    step: int
    of: int
    seconds_left: float | None
    losses: dict[str, float]
    attempts: int
    error: ItemError | None
    figures: TrainingFigures | None
    version: int | None
    decision: TrainingDecision | None
    cancel_requested: bool
    revision: int
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def is_final(self) -> bool:
        """Whether it will not change any more by itself."""
        return self.state in FINAL_TRAINING_STATES

    @classmethod
    def from_hash(cls, training: str, found: Mapping[str, str]) -> "TrainingRecord":
        """Read a training from its Redis hash."""
        asked = NewTraining(
            name=found["name"],
            workspace=found.get("workspace", DEFAULT_WORKSPACE),
            key=found["key"],
            request_id=found["request_id"],
            recipe=found["recipe"],
            settings=TrainingSettings.model_validate_json(found["settings"]),
            classes=tuple(json.loads(found["classes"])),
            start=found["start"],
            start_version=found["start_version"],
            job=found["job"],
            photos=int(found["photos"]),
            kept=int(found["kept"]),
            notes=tuple(json.loads(found["notes"])),
        )
        known: Any = found  # states and decisions are written by the scripts only
        return cls(
            id=training,
            asked=asked,
            state=known["state"],
            stage=found.get("stage", ""),
            step=int(found.get("step") or 0),
            of=int(found.get("of") or 0),
            seconds_left=_number(found.get("seconds_left")),
            losses=json.loads(found.get("losses") or "{}"),
            attempts=int(found["attempts"]),
            error=ItemError.model_validate_json(found["error"]) if found.get("error") else None,
            figures=TrainingFigures.model_validate_json(found["figures"]) if found.get("figures") else None,
            version=int(found["version"]) if found.get("version") else None,
            decision=known.get("decision") or None,
            cancel_requested=found["cancel_requested"] == "1",
            revision=int(found["revision"]),
            created_at=float(found["created_at"]),
            started_at=_number(found.get("started_at")),
            finished_at=_number(found.get("finished_at")),
        )


def _number(text: str | None) -> float | None:
    return float(text) if text else None
