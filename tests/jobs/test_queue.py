"""What waits on the queues."""

import json

import pytest

from toco.jobs.broker import DELETE_OBJECTS, DELIVER_WEBHOOKS, ERRANDS, PULSE
from toco.jobs.queue import WorkQueue


@pytest.fixture
def queue(settings, records) -> WorkQueue:
    return WorkQueue(settings, records)


def test_at_most_one_message_waits_for_the_same_errand(queue, records):
    for _ in range(3):
        queue.deliver_webhooks()
        queue.delete_objects("a")
        queue.delete_objects("b")
    assert records.redis.llen(ERRANDS) == 3


def test_a_message_names_its_task(queue, records):
    queue.delete_objects("a")
    assert json.loads(records.redis.lindex(ERRANDS, 0))["headers"]["task"] == DELETE_OBJECTS


def test_an_errand_that_began_may_be_wanted_again(queue, records):
    queue.delete_objects("a")
    queue.deliver_webhooks()
    queue.begun(DELIVER_WEBHOOKS, [])
    queue.deliver_webhooks()
    assert records.redis.llen(ERRANDS) == 3


def test_a_message_that_was_lost_is_sent_again(queue, records):
    queue.deliver_webhooks()
    records.redis.delete(ERRANDS)
    queue.deliver_webhooks()
    assert records.redis.llen(ERRANDS) == 1


def test_one_pulse_waits(queue, records):
    queue.pulse()
    queue.pulse()
    assert records.redis.llen(PULSE) == 1
