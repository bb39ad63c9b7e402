"""The phase of a job in which it learns words that no model knows: what was planned, how far it is, what came of it.

    reading -> fitting -> done

Tokens of chosen photos are read in shards on all workers and stored; one task fits the words to them and publishes what
it learnt; then the job is labelled with known and learnt words together. No item is labelled before that.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from toco.jobs.ids import item_id
from toco.jobs.model_names import require_name
from toco.model.learning.learnt_spec import WordReport, report_lines
from toco.model.learning.planning import CannotLearn, job_words, learnable, plan_learning
from toco.model.learning.settings import ReportSettings
from toco.model.options import Frozen
from toco.model.photos.classes import ClassName, Vocabulary
from toco.model.photos.tag_check import TagCheck, settle_unknown
from toco.model.photos.understanding import Mapped

LearningState = Literal["reading", "fitting", "done"]
READING: Final = "reading"
DONE: Final = "done"
_SHOWN_WORDS: Final = 20
_OWN_NAME: Final = 40  # characters of a job's name in the name of what it learns


class LearningPlan(Frozen):
    """What a job is to learn; written when it is made.

    Attributes:
        name: under which the model is published.
        words: that no class means and that enough photos show.
        photos: how many are read.
        tokens: kept of each.
    """

    name: str
    words: tuple[str, ...]
    photos: int
    tokens: int


class LearntWords(Frozen):
    """What a job learnt.

    Attributes:
        name: of the published model; empty if none of the new words could be learnt, then nothing was published.
        number: of its version.
        version: name and digest, as results name it.
        words: how well each was learnt, those that the model knows among them.
    """

    name: str = ""
    number: int = 0
    version: str = ""
    words: tuple[WordReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Learning:
    """The learning phase of a job as it stands.

    Attributes:
        state: what is done now.
        plan: what is to be learnt; None of a job that was made with words another one learnt.
        read: photos that were read.
        left_out: photos that cannot be read.
        error: why nothing was learnt, or empty.
        learnt: what came of it, once it is done.
    """

    state: LearningState
    plan: LearningPlan | None = None
    read: int = 0
    left_out: int = 0
    error: str = ""
    learnt: LearntWords | None = None

    @property
    def is_over(self) -> bool:
        """Whether items may be labelled."""
        return self.state == DONE

    @classmethod
    def from_hash(cls, found: Mapping[str, str]) -> "Learning | None":
        """Read the phase from a job's hash; None of a job that learns nothing."""
        if not found.get("learning_state"):
            return None
        plan, learnt = found.get("learning"), found.get("learnt")
        number = int(found.get("learnt_number") or 0)
        words = LearntWords.model_validate_json(learnt) if learnt else None
        return cls(
            state=found["learning_state"],  # type: ignore[arg-type] # written by the scripts only
            plan=LearningPlan.model_validate_json(plan) if plan else None,
            read=int(found.get("learning_read") or 0),
            left_out=int(found.get("learning_left_out") or 0),
            error=found.get("learning_error", ""),
            learnt=words.model_copy(update={"number": number}) if words and number else words,
        )


@dataclass(frozen=True, slots=True)
class NewLearning:
    """What is written of the phase with a new job.

    Attributes:
        plan: None where nothing is to be learnt.
        items: whose tokens are read.
        learnt: words that another job learnt, which this one is labelled with.
        why_not: why no word is learnt although that was asked for, or empty.
    """

    plan: LearningPlan | None = None
    items: tuple[str, ...] = ()
    learnt: LearntWords | None = None
    why_not: str = ""

    def to_hash(self) -> dict[str, str | int]:
        """Return the fields of the job's hash."""
        if self.plan is not None:
            return {"learning_state": READING, "learning": self.plan.model_dump_json()}
        if self.learnt is not None:
            return {
                "learning_state": DONE,
                "learnt": self.learnt.model_dump_json(),
                "learnt_number": self.learnt.number,
            }
        return {"learning_error": self.why_not} if self.why_not else {}


def plan_of_job(
    name: str,
    tags: Sequence[Sequence[str] | None],
    vocabulary: Vocabulary,
    mapping: Mapped,
) -> NewLearning:
    """Decide what a job learns of the words that its model does not know.

    Args:
        name: under which it is published.
        tags: of all its photos in order, as written; None or empty for those that teach nothing.
        vocabulary: the model's classes.
        mapping: see `mapping.fold_mapping`.
    """
    words = job_words(tags, vocabulary, mapping)
    new = learnable(words, vocabulary)
    if not new:
        least = ReportSettings().least_photos
        return NewLearning(why_not=f"To be learnt, a word has to be on {least} photos or more.")
    try:
        plan = plan_learning(words)
    except CannotLearn as error:
        return NewLearning(why_not=f"Nothing is learnt: {error}")
    planned = LearningPlan(name=name, words=tuple(new), photos=len(plan.positions), tokens=plan.tokens)
    return NewLearning(planned, tuple(item_id(position) for position in plan.positions))


def own_name(job: str, job_name: str) -> str:
    """Return the name of what a job learns where the user gave none: from the job's own, and its id."""
    readable = re.sub(r"[^A-Za-z0-9._\-]+", "-", job_name).strip("-._")[:_OWN_NAME]
    return require_name(f"{readable or 'words'}-{job[-6:]}")


def own_words(learning: Learning, classes: Iterable[ClassName]) -> tuple[WordReport, ...]:
    """Return what is said of each word that a job did not know before: those that it learnt, and those left open.

    Classes that its model knows by itself are labelled as ever, however little of them its photos taught.

    Args:
        learning: of the job, done.
        classes: of its labels, learnt words among them.
    """
    wanted = set(learning.plan.words) if learning.plan else set()
    labelled = {entry.name for entry in classes}
    found = learning.learnt.words if learning.learnt else ()
    return tuple(word for word in found if word.word in wanted or word.word not in labelled)


def notes(
    policy: str, check: TagCheck, learning: Learning | None, why_not: str, classes: Iterable[ClassName] = ()
) -> tuple[str, ...]:
    """Say what is done about words that are not understood; every door says it with these sentences.

    Args:
        policy: of the job.
        check: what its tags mean, learnt words among them once they are.
        learning: the phase, or None.
        why_not: why no word is learnt although that was asked for, or empty.
        classes: of the job's labels.
    """
    if learning is None or learning.plan is None:
        told = settle_unknown("open", check) if policy != "refuse" else ()
        return (*told, why_not) if told and why_not else told
    shown = ", ".join(learning.plan.words[:_SHOWN_WORDS])
    more = f" and {len(learning.plan.words) - _SHOWN_WORDS} more" if len(learning.plan.words) > _SHOWN_WORDS else ""
    if not learning.is_over:
        return (f"Learnt first, from {learning.plan.photos} photos: {shown}{more}.",)
    if learning.learnt is None:
        return (*settle_unknown("open", check), f"Nothing was learnt: {learning.error}")
    return (*settle_unknown("open", check), *report_lines(own_words(learning, classes)))
