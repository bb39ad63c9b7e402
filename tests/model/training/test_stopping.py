"""Being asked to stop, once or several times."""

import os
import signal

import pytest

from toco.model.training import stopping
from toco.model.training.stopping import StopOnSignal


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """A shell starts what runs in its background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_passed_on_several_times_asks_once():
    with StopOnSignal() as run:
        assert not run.asked()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.asked()
        assert run.exit_code == 130


def test_a_later_signal_does_what_it_always_does(monkeypatch):
    monkeypatch.setattr(stopping, "_ONE_WISH_SECONDS", -1.0)
    with StopOnSignal():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_was_before_is_again_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
