"""What a revision of a label is: the values behind the records."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from toco.jobs.store import artifact_key, revision_key

How = Literal["machine", "thresholds", "tags", "brush", "upload", "label_studio", "cvat", "learnt"]
PersonsWay = Literal["brush", "upload", "label_studio", "cvat"]
PERSONS_WAYS: Final[frozenset[str]] = frozenset(get_args(PersonsWay))


class Revising(BaseModel):
    """What a job is for whose labels become revisions of another job's.

    Attributes:
        job: the other one.
        how: its labels come about.
        who: asked for it.
        source: id of what asked for many at once (learning again), or empty.
    """

    model_config = ConfigDict(frozen=True)

    job: str
    how: How
    who: str = ""
    source: str = ""


class RevisedItem(BaseModel):
    """Which item of the other job a label is for.

    Attributes:
        item: id.
        based_on: number of the revision that was current when it was asked for.
    """

    model_config = ConfigDict(frozen=True)

    item: str
    based_on: int


class Revision(BaseModel):
    """One state of an item's label; what is written of it never changes.

    Attributes:
        number: 0 is the worker's own label, later ones count up.
        how: it was made.
        who: made it: the name of an API key, or empty where nobody did.
        at: seconds since 1970; 0 where it is not known.
        based_on: number of the revision that was current when it was made; None for the first.
        folder: of the artifacts that are its own; empty: those that the worker first stored.
        own: names of these artifacts; empty: all.
        rest: folder of the machine's label from which the other artifacts are.
        digest: of its mask and of what was said about it; a request that is sent twice is known by it.
        source: id of what made it along with others (learning again), or empty.
        iou: of a machine's label made again, mean IoU (0..1) with the mask before over background and the classes of
            either; None where it was not compared.
    """

    model_config = ConfigDict(frozen=True)

    number: int = 0
    how: How = "machine"
    who: str = ""
    at: float = 0.0
    based_on: int | None = None
    folder: str = ""
    own: tuple[str, ...] = ()
    rest: str = ""
    digest: str = ""
    source: str = ""
    iou: float | None = None

    @property
    def by_person(self) -> bool:
        """Whether a person made the mask, or drew it elsewhere."""
        return self.how in PERSONS_WAYS

    @property
    def machine_folder(self) -> str:
        """Folder of the machine's label that it is, or from which it has what it did not change."""
        return self.rest if self.own else self.folder

    def key_of(self, job: str, item: str, name: str) -> str:
        """Return where an artifact of this revision is stored."""
        folder = self.folder if not self.own or name in self.own else self.rest
        return revision_key(job, item, folder, name) if folder else artifact_key(job, item, name)

    def machine_key_of(self, job: str, item: str, name: str) -> str:
        """Return where an artifact of the machine's label is stored that it builds on."""
        folder = self.machine_folder
        return revision_key(job, item, folder, name) if folder else artifact_key(job, item, name)

    @classmethod
    def of_item(cls, found: Mapping[str, str]) -> "Revision":
        """Return the current revision of an item by its Redis hash."""
        if found.get("current"):
            return cls.model_validate_json(found["current"])
        return cls(at=float(found.get("finished_at") or 0))
