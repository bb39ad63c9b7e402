"""Small changes to the jobs floor, each of which some test must notice.

Python is changed by mutmut's operators, the scripts in Redis by a short list of our own. Texts for people (strings,
log lines, errors' words) are left alone: no test should pin them.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from mutmut.mutation.file_mutation import create_mutations

ROOT = Path(__file__).parents[2]

_CANCEL = "tests/jobs/test_cancel_and_delete.py"
_LIFE = "tests/workers/test_life_of_jobs.py"
TESTS = {
    "jobs/transitions.py": [
        "tests/jobs/test_records.py", _CANCEL, "tests/jobs/test_idempotency.py", "tests/jobs/test_uploads.py",
        "tests/jobs/test_migrations.py", _LIFE,
    ],
    "jobs/records.py": ["tests/jobs/test_records.py", _CANCEL, "tests/jobs/test_idempotency.py",
                        "tests/jobs/test_migrations.py", "tests/workers/test_sweep.py", _LIFE],
    "jobs/retries.py": ["tests/jobs/test_retries.py"],
    "jobs/idempotency.py": ["tests/jobs/test_idempotency.py"],
    "jobs/job.py": ["tests/jobs/test_records.py", _CANCEL, "tests/jobs/test_migrations.py"],
    "jobs/item_index.py": ["tests/jobs/test_records.py"],
    "jobs/migrations.py": ["tests/jobs/test_migrations.py"],
    "jobs/uploads.py": ["tests/jobs/test_uploads.py", "tests/jobs/test_migrations.py"],
    "jobs/queue.py": ["tests/jobs/test_queue.py", "tests/workers/test_sweep.py", "tests/workers/test_shard.py"],
    "workers/leases.py": ["tests/workers/test_leases.py", _LIFE],
}  # fmt: skip
"""The tests that must notice a change, by file, the quick ones first."""

_LUA = re.compile(r'^_[A-Z_]+ = """\n(.*?)^"""$', re.MULTILINE | re.DOTALL)
_LUA_CHANGES = (
    (r"==", "~="), (r"~=", "=="), (r" > ", " >= "), (r" >= ", " > "), (r" < ", " <= "), (r" <= now", " < now"),
    (r" \+ ", " - "), (r" - ", " + "), (r" and ", " or "), (r" or ", " and "), (r"\bnot ", ""),
    (r"-1\b", "1"), (r"\b1\b", "0"), (r"\b0\b", "1"), (r"return false", "return 1"),
    (r"^ *redis\.call\([^\n]*\)$", ""), (r"^ *(?:settle|move|forget_lease|over)\([^\n]*\)$", ""),
    (r"'(queued|done|failed|cancelled|running)'", "'else'"), (r"EXISTS", "TTL"),
)  # fmt: skip
_TEXTS = re.compile(r"logger\.|Error\(|raise |detail=|fix=|help=|typing|\"\"\"")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed file.

    Attributes:
        path: of the file, from the root.
        line: where, from 1.
        before, after: that line.
        source: the whole file, changed.
    """

    path: str
    line: int
    before: str
    after: str
    source: str


def mutants(paths: list[str], *, seed: int) -> list[Mutant]:
    """Return all changes to some files, in an order that a time box may cut anywhere."""
    found = [mutant for path in paths for mutant in (*_of_lua(path), *_of_python(path))]
    random.Random(seed).shuffle(found)
    return found


def _of_python(path: str) -> Iterator[Mutant]:
    source = (ROOT / path).read_text()
    module, mutations, *_ = create_mutations(path, source)
    for mutation in mutations:
        if isinstance(mutation.original_node, cst.SimpleString | cst.ConcatenatedString | cst.FormattedString):
            continue
        mutant = _compared(path, source, module.deep_replace(mutation.original_node, mutation.mutated_node).code)
        if mutant and not _TEXTS.search(mutant.before):
            yield mutant


def _of_lua(path: str) -> Iterator[Mutant]:
    source = (ROOT / path).read_text()
    for script in _LUA.finditer(source):
        for pattern, replacement in _LUA_CHANGES:
            for found in re.finditer(pattern, script[1], re.MULTILINE):
                start, end = (script.start(1) + part for part in found.span())
                line = source[source.rfind("\n", 0, start) + 1 : source.find("\n", start)]
                if line.lstrip().startswith("--"):
                    continue
                mutant = _compared(path, source, source[:start] + replacement + source[end:])
                if mutant:
                    yield mutant


def _compared(path: str, before: str, after: str) -> Mutant | None:
    for number, (old, new) in enumerate(zip(before.split("\n"), after.split("\n"), strict=False), 1):
        if old != new:
            return Mutant(path, number, old.strip(), new.strip(), after)
    return None
