"""Finding jobs: those of a workspace, those in a state, a page at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from toco.jobs.ids import new_id
from toco.jobs.job import JobRecord, JobState
from toco.jobs.keys import JOBS, job_key, jobs_in_state, jobs_in_workspace, query_key

_QUERY_SECONDS: Final = 30  # how long an intermediate result stays if its reader dies


def newest_jobs(
    client: Any, *, workspace: str | None, state: JobState | None, before: str | None, limit: int
) -> list[JobRecord]:
    """Return the newest jobs first.

    Args:
        client: answers with text.
        workspace: only its jobs; None finds those of all.
        state: only jobs in this one.
        before: only jobs made before this one.
        limit: at most so many.
    """
    found: list[JobRecord] = []
    with _index(client, workspace, state) as index:
        while missing := limit - len(found):
            names = client.zrevrangebylex(index, f"({before}" if before else "+", "-", start=0, num=missing)
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hgetall(job_key(name))
            hashes = zip(names, pipeline.execute(), strict=True)
            # One that was deleted in between leaves room for the next, and one that only makes revisions does.
            found += [
                JobRecord.from_hash(name, values)
                for name, values in hashes
                if "state" in values and not values.get("revising")
            ]
            if len(names) < missing:
                break
            before = names[-1]
    return found


@contextmanager
def _index(client: Any, workspace: str | None, state: JobState | None) -> Iterator[str]:
    """Yield the key of the sorted set of the jobs of a workspace, in a state, or both."""
    kept = [jobs_in_workspace(workspace)] if workspace else []
    kept += [jobs_in_state(state)] if state else []
    if len(kept) < 2:
        yield kept[0] if kept else JOBS
        return
    both = query_key(new_id())
    pipeline = client.pipeline(transaction=True)
    pipeline.zinterstore(both, kept)
    pipeline.expire(both, _QUERY_SECONDS)
    pipeline.execute()
    yield both
    client.delete(both)
