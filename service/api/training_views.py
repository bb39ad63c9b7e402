"""What the API tells of trainings."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from toco.jobs.job import ItemError
from toco.jobs.training import TrainingDecision, TrainingRecord, TrainingState
from toco.model.training.figures import TrainingFigures
from toco.model.training.recipes import TrainingSettings
from toco.service.api.schemas import moment


class TrainingView(BaseModel):
    """A training as it stands."""

    id: str
    name: str = Field(description="Of the model that comes out.")
    state: TrainingState
    workspace: str
    preset: str
    settings: TrainingSettings
    classes: list[str]
    start: str = Field(description="Version of the model that it starts from, and that it is judged beside.")
    job: str = Field(description="Whose photos are trained on; empty where they were sent.")
    photos: int = Field(description="To train on.")
    kept: int = Field(description="Photos kept aside, to judge the model by.")
    notes: list[str] = Field(description="What does not fit, and what was left out.")
    stage: str = Field(description="What goes on; empty before and after.")
    step: int = Field(description="Of this stage, done.")
    of: int = Field(description="Of this stage, in all.")
    seconds_left: float | None = Field(description="Of this stage; null where nobody knows.")
    losses: dict[str, float] = Field(description="Of the last step.")
    error: ItemError | None = Field(description="Why it failed, or why the last attempt did.")
    version: int | None = Field(description="Under which the model is published; null before.")
    decision: TrainingDecision | None = Field(description="What people decided on the model; null before.")
    cancel_requested: bool
    figures: TrainingFigures | None = Field(description="The model and the one before, on the photos kept aside.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of_record(cls, record: TrainingRecord, **more: Any) -> Self:
        """Show a training, with more that only a kind of view tells."""
        asked = record.asked
        return cls(
            id=record.id,
            name=asked.name,
            state=record.state,
            workspace=asked.workspace,
            preset=asked.recipe,
            settings=asked.settings,
            classes=list(asked.classes),
            start=asked.start_version,
            job=asked.job,
            photos=asked.photos,
            kept=asked.kept,
            notes=list(asked.notes),
            stage="" if record.is_final else record.stage,
            step=record.step,
            of=record.of,
            seconds_left=record.seconds_left,
            losses=record.losses,
            error=record.error,
            version=record.version,
            decision=record.decision,
            cancel_requested=record.cancel_requested,
            figures=record.figures,
            created_at=moment(record.created_at),
            started_at=moment(record.started_at) if record.started_at else None,
            finished_at=moment(record.finished_at) if record.finished_at else None,
            **more,
        )


class TrainingDetails(TrainingView):
    """A training with its losses so far."""

    history: list[dict[str, float]] = Field(description="Losses of some steps; `step` counts over all rounds.")


class TrainingPage(BaseModel):
    """Some trainings, the newest first."""

    trainings: list[TrainingView]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")
