"""A process that may die at any command to the records, and the laws that the records keep all the same."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import redis

from toco.jobs import keys
from toco.jobs.job import JobState
from toco.jobs.transitions import ITEM_STATES

_SNAPSHOT = """
local found = {}
for _, key in ipairs(redis.call('KEYS', 'toco:*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1)
  else value = redis.call('GET', key) end
  table.insert(found, {key, kind, value})
end
return found
"""


class Killed(BaseException):
    """Ends the process: nothing is tidied up."""


class MortalConnection(redis.Connection):
    """Dies before or after a command reached the server, when the fuse has burnt down. Two lengths of it a command."""

    fuse: int | None = None

    def send_packed_command(self, command, check_health=True):
        cls = MortalConnection
        if cls.fuse is None:
            super().send_packed_command(command, check_health)
            return
        if cls.fuse == 0:
            self.disconnect()
            raise Killed
        super().send_packed_command(command, check_health)
        if cls.fuse == 1:
            self._until_done()
            raise Killed
        cls.fuse -= 2

    def _until_done(self) -> None:
        """Let the server do what it was sent; nobody hears of it."""
        word = secrets.token_hex(8)
        super().send_packed_command(self.pack_command("ECHO", word))
        answer = None
        while answer != word:
            try:
                answer = self.read_response()
            except redis.ResponseError:
                continue
        self.disconnect()

    @classmethod
    @contextmanager
    def dying(cls, fuse: int | None) -> Iterator[None]:
        """Run a block that dies in mid-way, or not at all if the fuse is longer or None."""
        cls.fuse = fuse
        try:
            yield
        except Killed:
            pass
        finally:
            cls.fuse = None


def mortal_client(url: str) -> "redis.Redis":
    """Return a client whose process may die."""
    pool = redis.ConnectionPool.from_url(url, decode_responses=True, connection_class=MortalConnection)
    return redis.Redis(connection_pool=pool)


def snapshot(client: "redis.Redis") -> dict[str, Any]:
    """Return every key of ours and what it holds, all at one moment."""
    found: dict[str, Any] = {}
    for key, kind, value in client.eval(_SNAPSHOT, 0):
        if kind == "hash":
            found[key] = dict(zip(value[::2], value[1::2], strict=True))
        else:
            found[key] = set(value) if kind == "set" else value
    return found


def states_of(records: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the state of each item by job."""
    return {
        job: {
            item: records[keys.item_key(job, item)]["state"] for item in records.get(keys.order_key(job, "index"), [])
        }
        for job in records.get(keys.JOBS, [])
    }


def expected_state(counts: dict[str, int], *, begun: bool, learns: bool = False) -> str:
    """Return the state that follows from a job's items and its learning."""
    if counts["queued"] + counts["running"] and learns:
        return "learning"
    if counts["queued"] + counts["running"]:
        return "running" if begun else "queued"
    if counts["cancelled"]:
        return "cancelled"
    if not counts["failed"]:
        return "succeeded"
    return "partly_failed" if counts["done"] else "failed"


def check_laws(records: dict[str, Any]) -> None:
    """Fail if the records break a law."""
    totals = dict.fromkeys(ITEM_STATES, 0)
    running = set()
    for job, states in states_of(records).items():
        record = records[keys.job_key(job)]
        counts = {state: int(record[state]) for state in ITEM_STATES}
        for state in ITEM_STATES:
            members = {item for item in states if states[item] == state}
            assert records.get(keys.item_set(job, "state", state), set()) == members, (
                "an item is in one set, its state's"
            )
            assert counts[state] == len(members), "counts equal items"
            totals[state] += len(members)
        assert int(record["total"]) == len(states)
        learns = record.get("learning_state", "done") != "done"
        assert record["state"] == expected_state(counts, begun="started_at" in record, learns=learns)
        check_learning(records, job, counts)
        listed = [state for state in get_args(JobState) if job in records.get(keys.jobs_in_state(state), [])]
        assert listed == [record["state"]], "a job is in one list, its state's"
        active, finished = (job in records.get(index, []) for index in (keys.JOBS_ACTIVE, keys.JOBS_FINISHED))
        over = not counts["queued"] + counts["running"]
        assert (active, finished, "finished_at" in record) == (not over, over, over), "a job is active until it is over"
        assert record["cancel_requested"] == "0" or not counts["queued"], "nothing of a cancelled job waits for work"
        for item, state in states.items():
            fields = records[keys.item_key(job, item)]
            held = {field in fields for field in ("token", "lease_until", "owner")}
            assert held == {state == "running"}, "who works on an item holds its lease"
            ended = "finished_at" in fields or fields["rejected"] == "1"
            assert ended == (state in ("done", "failed", "cancelled"))
            assert state != "failed" or fields["error"], "what failed says why"
            check_revisions(records, job, item)
            if state == "running":
                running.add(f"{job}:{item}")
    assert set(records.get(keys.LEASES, [])) == running, "every item in work has a lease that can run out"
    assert {state: int(records.get(keys.ITEMS, {}).get(state, 0)) for state in ITEM_STATES} == totals
    known = {job for index in (keys.JOBS, keys.JOBS_CREATING, keys.JOBS_TRASH) for job in records.get(index, [])}
    assert {key.split(":")[2] for key in records if key.startswith("toco:job:")} <= known, (
        "a deleted job leaves nothing"
    )


def check_learning(records: dict[str, Any], job: str, counts: dict[str, int]) -> None:
    """Fail if a photo counts twice or never, if an item is labelled before all is learnt, or a model is there twice."""
    record = records[keys.job_key(job)]
    unread = records.get(keys.unread_key(job), set())
    if "learning" in record:
        plan = json.loads(record["learning"])
        counted = int(record.get("learning_read", 0)) + int(record.get("learning_left_out", 0))
        assert counted + len(unread) == plan["photos"], "each photo is read, left out, or still to be read"
        assert (record["learning_state"] == "reading") == bool(unread), "the last photo ends the reading"
        if record["learning_state"] != "done":
            assert not counts["running"] + counts["done"], "nothing is labelled before all is learnt"
        else:
            assert "fit_owner" not in record
            assert record.get("learnt_number") or record["learning_error"], "what was not learnt is said"
    else:
        assert not unread
    published = records.get(keys.published_model("default", "things"), {})
    of_job = {
        field.removeprefix("version:")
        for field, text in published.items()
        if field.startswith("version:") and json.loads(text)["job"] == job
    }
    assert of_job == ({record["learnt_number"]} if "learnt_number" in record else set()), "a job learns one model"


def check_revisions(records: dict[str, Any], job: str, item: str) -> None:
    """Fail if a revision of an item is half there, or lists show another than the current one."""
    fields = records[keys.item_key(job, item)]
    kept = records.get(keys.revisions_key(job, item), {})
    assert bool(kept) == ("latest" in fields), "an item has a history as soon as there is more than one revision"
    if kept:
        numbers = range(int(fields["latest"]) + 1)
        assert all({str(n), f"summary:{n}", f"words:{n}"} <= kept.keys() for n in numbers), "each revision is whole"
        current = fields["revision"]
        assert (fields["current"], fields["summary"]) == (kept[current], kept[f"summary:{current}"])
    shown = set(json.loads(fields["summary"])["tags"]) if fields.get("summary") else set()
    listed = {
        tag for tag in records.get(keys.tags_key(job), ()) if item in records.get(keys.item_set(job, "tag", tag), ())
    }
    assert listed == shown, "an item is found by the tags of its current revision"
    verdicts = {way for way in ("accept", "reject") if item in records.get(keys.item_set(job, "decision", way), ())}
    assert verdicts == ({fields["decision"]} if fields.get("decision") else set())
