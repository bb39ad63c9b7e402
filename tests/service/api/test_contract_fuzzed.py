"""The OpenAPI is the truth: whatever is asked, alone or as a story, no answer is a 5xx or one that it does not list.

Schemathesis asks: the examples of the description, values at and over every bound, random ones, and requests that
follow one another with the ids that earlier answers gave.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from toco.jobs.api_keys import ApiKeys
from toco.jobs.broker import QUEUES
from toco.jobs.records import Records, connect
from toco.jobs.settings import load_settings
from toco.jobs.stats import Stats, WorkerReport
from toco.service.applications.listening import SPOKEN
from toco.service.applications.whole import create_app

pytestmark = pytest.mark.slow

SECONDS = 90
# Schemathesis knows no bodies of the tus protocol.
HOOKS = """
import schemathesis

@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture
def served(valkey, models_folder, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The application on a port, its address and a key that may do everything; no worker answers."""
    chosen = load_settings(
        redis_url=valkey.url, data_dir=tmp_path, models_dir=models_folder, default_model="tiny", auth=True,
        label_wait_seconds=0, annotation_wait_seconds=0, rate_per_minute=10_000_000, _env_file=None,
    )  # fmt: skip
    client = connect(chosen)
    client.flushdb()
    records = Records(client)
    server = uvicorn.Server(uvicorn.Config(create_app(chosen), port=0, **SPOKEN))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    _, token = ApiKeys(records).create("contract", frozenset({"admin"}))
    Stats(records).report(
        WorkerReport("w-1", list(QUEUES), ["tiny"], "cpu", answered_at=time.time() + 3600), valid_seconds=3600
    )
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", token
    server.should_exit = True
    thread.join(30)
    client.close()


def test_no_answer_is_a_fault_of_ours_or_undocumented(served, tmp_path):
    url, token = served
    (tmp_path / "tus_bodies.py").write_text(HOOKS)
    hooks = {"SCHEMATHESIS_HOOKS": "tus_bodies", "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
            "--header", f"Authorization: Bearer {token}",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing,stateful",
            "--max-examples", "12", "--max-time", str(SECONDS), "--seed", "1", "--workers", "1",
            "--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all", "--no-color",
        ],
        cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True, timeout=SECONDS + 300, check=False,
    )  # fmt: skip
    said = run.stdout + run.stderr
    faults = said.partition("= FAILURES =")[2] or said
    assert run.returncode == 0, faults[:8_000]
    generated = re.search(r"(\d[\d,]*) generated", said)
    assert generated, said[-3000:]
    assert int(generated.group(1).replace(",", "")) > 50  # thousands; a machine under load asks less
