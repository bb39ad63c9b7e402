"""Webhooks: attempts are counted, slow receivers hold nobody up, and what failed is shown on the job."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.dripping import DrippingServer
from toco.jobs.keys import WEBHOOK_ATTEMPTS, WEBHOOKS
from toco.jobs.outbound import Outbound
from toco.workers.webhooks import Webhooks, wait_before


@pytest.fixture
def webhooks(settings, records):
    chosen = settings.model_copy(
        update={"outbound_allow_private": ("127.0.0.0/8",), "outbound_timeout_seconds": 1.0, "webhook_attempts": 3}
    )
    outbound = Outbound(chosen)
    yield Webhooks(chosen, records, outbound)
    outbound.close()


@pytest.fixture
def receiver():
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            got.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()
    thread.join()


def ended(records, make_job, webhook: str) -> str:
    job = make_job(1, webhook=webhook).id
    records.cancel(job)
    return job


def due_now(records) -> None:
    records.redis.zadd(WEBHOOKS, dict.fromkeys(records.redis.zrange(WEBHOOKS, 0, -1), time.time() - 1), xx=True)


def test_receivers_that_drip_hold_up_no_other(webhooks, records, make_job, receiver):
    url, got = receiver
    with DrippingServer(head_at_once=False) as dripping:
        for _ in range(6):
            ended(records, make_job, dripping.url)
        for number in range(4):
            ended(records, make_job, f"{url}/{number}")
        begun = time.monotonic()
        assert webhooks.deliver_due() == 4
        assert time.monotonic() - begun < 6, "one after the other they take a second each"
    assert sorted(got) == ["/0", "/1", "/2", "/3"]
    assert set(records.redis.hvals(WEBHOOK_ATTEMPTS)) == {"1"}


def test_an_attempt_counts_before_it_is_made(webhooks, records, make_job, monkeypatch):
    """A worker that dies while a receiver drips would else try for ever."""
    ended(records, make_job, "http://127.0.0.1:9/")
    monkeypatch.setattr(webhooks._outbound, "post", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        webhooks.deliver_due()
    assert records.redis.hvals(WEBHOOK_ATTEMPTS) == ["1"]
    assert not webhooks.any_due()
    assert records.redis.zcard(WEBHOOKS) == 1


def test_what_failed_is_shown_on_the_job_until_it_is_given_up(webhooks, records, make_job):
    job = ended(records, make_job, "http://127.0.0.1:9/")
    webhooks.deliver_due()
    assert "does not answer" in records.job(job).webhook_error
    for _ in range(2):
        due_now(records)
        webhooks.deliver_due()
    assert records.job(job).webhook_error.startswith("Given up: ")
    assert (records.redis.zcard(WEBHOOKS), records.redis.hlen(WEBHOOK_ATTEMPTS)) == (0, 0)


def test_an_address_that_became_private_is_given_up_and_shown(webhooks, records, make_job):
    job = ended(records, make_job, "http://10.1.2.3/")
    webhooks.deliver_due()
    assert "no public address" in records.job(job).webhook_error
    assert not records.redis.exists(WEBHOOKS)


def test_a_deleted_job_is_not_brought_back_by_what_becomes_of_its_webhook(webhooks, records, make_job):
    job = ended(records, make_job, "http://127.0.0.1:9/")
    records.delete_job(job)
    assert not records.note(job, webhook_error="late")
    due_now(records)
    webhooks.deliver_due()
    assert records.redis.keys(f"*{job}*") == []


def test_waits_double_up_to_an_hour():
    assert [round(wait_before(attempt) / (5 * 2 ** (attempt - 2))) for attempt in range(2, 8)] == [1] * 6
    assert wait_before(30) <= 1.2 * 3600
