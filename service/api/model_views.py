"""How the API shows models, their classes, and what jobs learn."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, Field

from toco.jobs.learning import Learning, LearningState, own_words
from toco.model.learning.learnt_spec import WordReport
from toco.model.photos.classes import ClassName
from toco.model.photos.palette import PALETTE


class ClassView(BaseModel):
    """A class that a model knows."""

    name: str
    index: int = Field(description="Its value in masks.")
    synonyms: list[str]
    color: tuple[int, int, int] = Field(description="RGB in mask palettes.")

    @classmethod
    def of(cls, entry: ClassName) -> "ClassView":
        """Show a class."""
        red, green, blue = map(int, PALETTE[entry.index])
        return cls(name=entry.name, index=entry.index, synonyms=list(entry.synonyms), color=(red, green, blue))


class LearningView(BaseModel):
    """How far a job is with learning words that no model knows, and what came of it."""

    state: LearningState = Field(description="`reading` photos, `fitting` the words to them, or `done`.")
    words: list[str] = Field(description="That are to be learnt.")
    photos: int = Field(description="Photos to read.")
    photos_read: int
    photos_left_out: int = Field(description="Photos that cannot be read.")
    model: str = Field(description="Name of the model of the learnt words; empty if there is none.")
    number: int | None = Field(description="Number of its version.")
    report: list[WordReport] = Field(
        description="How well each own word was learnt; those that were not are left open."
    )
    error: str = Field(description="Why nothing was learnt; empty if something was.")

    @classmethod
    def of(cls, learning: Learning, classes: Iterable[ClassName]) -> "LearningView":
        """Show the phase of a job whose labels have some classes."""
        plan, learnt = learning.plan, learning.learnt
        return cls(
            state=learning.state,
            words=list(plan.words) if plan else [],
            photos=plan.photos if plan else 0,
            photos_read=learning.read,
            photos_left_out=learning.left_out,
            model=learnt.name if learnt else "",
            number=learnt.number or None if learnt else None,
            report=list(own_words(learning, classes)),
            error=learning.error,
        )


class ModelView(BaseModel):
    """A model."""

    name: str
    version: str
    default: bool
    licence: str
    classes: list[ClassView]
    backbone: str
    input_size: int = Field(description="Side in pixels at which CAMs are made.")
    thresholds: dict[str, float]
    figures: dict[str, Any] = Field(description="Measured quality.")
    provenance: dict[str, Any] = Field(description="How and on what it was trained.")
    warm_on: list[str] = Field(description="Workers that keep it loaded.")
    kind: Literal["whole", "learnt"] = Field(description="`learnt`: words on the encoder of another model.")
    encoder: str = Field(description="Of learnt words: digest of the encoder that they stand on.")
    words: list[WordReport] = Field(description="Of learnt words: how well each was learnt, and which are left open.")
    published: bool = Field(description="Whether it was made here, and can be changed over the API.")
    number: int | None = Field(description="Of a published model: number of this version.")
    versions: int = Field(description="Of a published model: how many there are.")
