"""Data sets: a name for items of several jobs, which are counted, split and exported as one."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from toco.jobs.ids import ID_PATTERN, ITEM_PATTERN
from toco.jobs.item_index import ItemIndex, ItemQuery
from toco.jobs.job import ItemRecord, JobRecord
from toco.jobs.keys import data_sets_key
from toco.jobs.records import JobNotFound, Records
from toco.model.errors import TocoError

Decisions = Literal["all", "accepted", "not_rejected"]
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$"
DataSetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
MAX_MEMBERS: Final = 100
MAX_ITEMS: Final = 100_000


class DataSetNotFound(TocoError):
    """No data set has this name."""

    code = "data_set_not_found"
    kind = "not_found"


class WorkspacesDiffer(TocoError):
    """The jobs of a data set belong to several workspaces."""

    code = "workspaces_differ"
    kind = "conflict"


class Member(BaseModel):
    """The part of a data set that one job gives.

    Attributes:
        job: its id.
        decisions: all its labelled items, the accepted ones, or all but the rejected ones.
        items: ids of these items alone; empty for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Annotated[str, StringConstraints(pattern=ID_PATTERN)]
    decisions: Decisions = "all"
    items: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=ITEM_PATTERN)], ...], Field(max_length=MAX_ITEMS)
    ] = ()

    def query(self) -> ItemQuery:
        """Return what finds the items in the index, but for those that a person rejected."""
        return ItemQuery(state="done", decision="accept" if self.decisions == "accepted" else None)

    def takes(self, item: ItemRecord) -> bool:
        """Say whether a labelled item that `query` finds is in."""
        rejected = self.decisions == "not_rejected" and item.decision == "reject"
        return not rejected and (not self.items or item.id in self._listed)

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self.items)


Members = Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_MEMBERS)]
_MEMBERS: Final = TypeAdapter(Members)


def write_members(members: Sequence[Member]) -> str:
    """Return members as JSON."""
    return _MEMBERS.dump_json(tuple(members)).decode()


def read_members(text: str) -> tuple[Member, ...]:
    """Read what `write_members` wrote."""
    return _MEMBERS.validate_json(text)


class DataSets:
    """Data sets by workspace. Safe to use from several threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._redis = records.redis
        self._index = ItemIndex(records)

    def names(self, workspace: str) -> list[str]:
        """Return the names of all data sets, sorted."""
        return sorted(self._redis.hkeys(data_sets_key(workspace)))

    def get(self, name: str, workspace: str) -> tuple[Member, ...]:
        """Return the members of a data set. Raises DataSetNotFound."""
        found = self._redis.hget(data_sets_key(workspace), name)
        if found is None:
            raise DataSetNotFound(f"There is no data set {name!r}.", fix="List them with GET /v1/data_sets.")
        return read_members(found)

    def put(self, name: str, members: Sequence[Member], workspace: str, *, sees: str | None) -> None:
        """Keep a data set, in the place of one of the same name. Raises like `jobs_of`."""
        self.jobs_of(members, sees=sees)
        self._redis.hset(data_sets_key(workspace), name, write_members(members))

    def delete(self, name: str, workspace: str) -> None:
        """Forget a data set; its jobs stay. Raises DataSetNotFound."""
        if not self._redis.hdel(data_sets_key(workspace), name):
            self.get(name, workspace)

    def jobs_of(self, members: Sequence[Member], *, sees: str | None) -> list[JobRecord]:
        """Return the jobs of members, in order.

        Args:
            members: of a data set.
            sees: the workspace whose jobs alone are seen; None sees all.

        Raises:
            JobNotFound: one is gone, or is not seen.
            WorkspacesDiffer: whoever sees one of the jobs would see photos of another's.
        """
        for member in members:
            if sees is not None:
                self._records.require_seen(member.job, sees)
        jobs = [self._records.job(member.job) for member in members]
        workspaces = sorted({job.workspace for job in jobs})
        if len(workspaces) > 1:
            raise WorkspacesDiffer(
                f"The jobs belong to the workspaces {' and '.join(workspaces)}.", fix="Take jobs of one workspace."
            )
        return jobs

    def photos(self, member: Member) -> int | None:
        """Count the labelled items that a job gives; None where the job is gone."""
        try:
            if member.items:
                listed = self._records.items(member.job, member.items)
                accepted = [item for item in listed if member.decisions != "accepted" or item.decision == "accept"]
                return sum(item.state == "done" and member.takes(item) for item in accepted)
            total = self._index.find(member.job, member.query(), limit=1).total
            if member.decisions == "not_rejected":
                total -= self._index.find(member.job, ItemQuery(state="done", decision="reject"), limit=1).total
        except JobNotFound:
            return None
        return total
