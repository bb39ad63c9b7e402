"""Runs tests against small changes to the jobs floor: `python -m tests.mutants --minutes 60`.

Each change is tried in a fork of this process, in which the libraries are loaded already. The result, with every
change that no test noticed, goes to docs/mutants.json; reasons written there by hand are kept.
"""

import argparse
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

import celery
import hypothesis.stateful
import numpy as np
import obstore
import pydantic
import pydantic_settings
import pytest
import redis

from tests.mutants.changes import ROOT, TESTS, Mutant, mutants

LOADED = (celery, hypothesis.stateful, np, obstore, pydantic, pydantic_settings, redis)
RESULT = ROOT / "docs" / "mutants.json"
_LOADED_BEFORE = "ignore::pytest.PytestAssertRewriteWarning"
_LIMIT_SECONDS = 240


class Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from a changed source."""

    source = b""

    def get_data(self, path: str) -> bytes:
        """Return the changed source."""
        return self.source

    def path_stats(self, path: str):
        """Say that no compiled file fits."""
        raise OSError


class Finder:
    """Finds the one changed module."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = "toco." + mutant.path.removesuffix(".py").replace("/", ".")
        self._path = str(ROOT / "toco" / mutant.path)
        self._source = mutant.source.encode()

    def find_spec(self, name, path=None, target=None):
        """Return the changed module's spec, and nothing for the others."""
        if name != self._name:
            return None
        loader = Changed(name, self._path)
        loader.source = self._source
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)


def survives(tests: list[str], mutant: Mutant | None) -> bool:
    """Run tests in a fork; return whether all passed."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("toco", "tests")]:
            del sys.modules[name]
        if mutant is not None:
            sys.meta_path.insert(0, Finder(mutant))
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", _LOADED_BEFORE, *tests])))
    ends = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False  # it hangs: noticed


def try_again(known, found: list[Mutant], ends: float) -> None:
    """Try what survived the last time without a reason; write the result with what is noticed by now."""
    now = {(mutant.path, mutant.before, mutant.after): mutant for mutant in found}
    kept, noticed = [], 0
    for old in known["survivors"]:
        mutant = now.get((old["path"], old["before"], old["after"]))
        if old["reason"] or mutant is None or time.monotonic() > ends or survives(TESTS[old["path"]], mutant):
            kept.append(old)
        else:
            noticed += 1
    total = known["noticed"] + noticed
    summary = known | {"noticed": total, "score_percent": round(100 * total / known["tried"], 1), "survivors": kept}
    RESULT.write_text(json.dumps(summary, indent=2) + "\n")
    sys.stdout.write(f"{noticed} more are noticed, {len(kept)} are not: {summary['score_percent']} %\n")


def main() -> None:
    """Try as many changes as there is time for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="*", default=list(TESTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="only what no test noticed the last time, for no reason")
    chosen = parser.parse_args()
    os.environ.setdefault("TOCO_STORIES", "15")
    for path in chosen.only:
        if not survives(TESTS[path], None):
            raise SystemExit(f"The tests of {path} fail without any change.")
    ends = time.monotonic() + chosen.minutes * 60
    found = mutants(chosen.only, seed=chosen.seed)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {"survivors": []}
    reasons = {(old["path"], old["before"], old["after"]): old["reason"] for old in known["survivors"]}
    if chosen.again:
        try_again(known, found, ends)
        return
    ran, survivors = 0, []
    for mutant in found:
        if time.monotonic() > ends:
            break
        ran += 1
        if survives(TESTS[mutant.path], mutant):
            reason = reasons.get((mutant.path, mutant.before, mutant.after), "")
            survivors.append({"path": mutant.path, "line": mutant.line, "before": mutant.before,
                              "after": mutant.after, "reason": reason})  # fmt: skip
            sys.stdout.write(f"{mutant.path}:{mutant.line}: {mutant.before!r} -> {mutant.after!r}\n")
            sys.stdout.flush()
    score = round(100 * (ran - len(survivors)) / max(ran, 1), 1)
    summary = {"changes": len(found), "tried": ran, "noticed": ran - len(survivors), "score_percent": score}
    RESULT.write_text(json.dumps(summary | {"survivors": survivors}, indent=2) + "\n")
    sys.stdout.write(f"{json.dumps(summary)}\n")


if __name__ == "__main__":
    main()
