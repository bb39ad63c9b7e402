"""Logs are JSON, a line an event, and say what they belong to."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from toco.jobs.logs import JsonFormatter, log_context
from toco.jobs.store import StorageFull


@pytest.fixture
def lines(caplog):
    """Return what was logged so far, as it would be written."""
    caplog.handler.setFormatter(JsonFormatter())
    caplog.set_level("INFO")
    return lambda: [json.loads(line) for line in caplog.text.splitlines()]


def test_a_line_carries_what_is_bound_around_it(lines):
    log = logging.getLogger("a.b")
    with log_context(job="j", request_id="r"):
        with log_context(item="000001"):
            log.info("labelled %d", 3, extra={"attempt": 1})
        log.warning("over")
    log.info("outside")
    first, second, third = lines()
    assert first | {"time": ""} == {
        "time": "", "level": "info", "logger": "a.b", "message": "labelled 3", "job": "j", "item": "000001",
        "request_id": "r", "attempt": 1,
    }  # fmt: skip
    assert (second["job"], "item" in second) == ("j", False)
    assert not {"job", "item", "request_id"} & third.keys()


def test_threads_do_not_mix_their_fields(lines):
    def work(item: str) -> None:
        with log_context(item=item):
            logging.getLogger().info(item)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [f"{n:06d}" for n in range(50)]))
    assert all(line["item"] == line["message"] for line in lines())


def test_an_error_is_told_by_its_code_and_traceback(lines):
    logging.getLogger().error("failed", exc_info=StorageFull("No room."))
    (line,) = lines()
    assert line["error"] == "storage_full"
    assert "StorageFull" in line["traceback"]


def test_warnings_of_libraries_are_lines_too():
    code = "from toco.jobs.logs import set_up_logs; import warnings; set_up_logs('INFO'); warnings.warn('old'); 1"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert [json.loads(line)["logger"] for line in said.splitlines()] == ["py.warnings"]
