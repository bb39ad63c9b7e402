"""The embedded queue server: however long it loads, it is waited for."""

import pytest
import redis

from toco.service.one_machine import embedded
from toco.service.one_machine.embedded import EmbeddedServer, EmbeddedServerFailed

COUNT = 20_000


@pytest.mark.slow
def test_a_server_that_loads_for_longer_than_it_may_be_silent_is_waited_for(tmp_path, monkeypatch):
    server = EmbeddedServer(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(COUNT):
            pipeline.set(f"key{number}", "x")
        pipeline.execute()
    server.stop()
    # A tenth of a millisecond a command while it loads; it answers each 1,024 of them.
    (tmp_path / "own.conf").write_text("key-load-delay 100\n")
    monkeypatch.setattr(embedded, "_START_SECONDS", 1)
    states = set()
    asked = EmbeddedServer.state
    monkeypatch.setattr(EmbeddedServer, "state", lambda self: (states.add(found := asked(self)), found)[1])
    try:
        server.start()
        assert states >= {"loading", "up"}
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == COUNT
    finally:
        server.stop()


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "own.conf").write_text("no-such-setting yes\n")
    with pytest.raises(EmbeddedServerFailed, match="no-such-setting"):
        EmbeddedServer(tmp_path).start()
