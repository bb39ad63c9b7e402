"""A worker's one slot comes free, whatever the broker says to the acknowledgement."""

import pytest
import redis
from kombu import Connection, Consumer, Queue

from toco.jobs.queue_transport import TRANSPORT
from toco.service.one_machine.embedded import EmbeddedServer


@pytest.fixture
def server(tmp_path):
    server = EmbeddedServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def taken(server):
    """A channel with one slot, and the message that it took."""
    with Connection(server.url, transport=TRANSPORT, transport_options={"socket_timeout": 1}) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        queue = Queue("work", channel=channel)
        got = []
        with Consumer(channel, queues=[queue], on_message=got.append):
            connection.Producer(channel).publish({"a": 1}, routing_key="work", declare=[queue])
            while not got:
                connection.drain_events(timeout=5)
            assert not channel.qos.can_consume()
            yield channel, got[0]


def read_only(server: EmbeddedServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")


@pytest.mark.parametrize("end", [lambda message: message.ack(), lambda message: message.reject(requeue=True)])
@pytest.mark.parametrize("refuse", [lambda server: server.stop(), read_only], ids=["away", "read-only"])
def test_a_slot_is_free_although_the_broker_noted_nothing(server, taken, refuse, end):
    channel, message = taken
    refuse(server)
    end(message)
    assert channel.qos.can_consume()


def test_an_acknowledged_message_is_gone_from_the_broker(server, taken):
    channel, message = taken
    message.ack()
    assert channel.qos.can_consume()
    with redis.Redis.from_url(server.url) as client:
        assert client.hlen("unacked") == 0
