"""What OpenVINO compiled is kept where that can be written, and made anew where it is damaged."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("openvino")

import openvino
from openvino import opset13

from toco.model.method.compiled_graph import CompiledGraph

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
TWICE = [2 * VALUES]


def doubling(**options):
    given = opset13.parameter([-1, 3], np.float32)
    graph = openvino.Model([opset13.multiply(given, opset13.constant(np.float32(2)))], [given])
    return CompiledGraph(graph, bfloat16=False, threads=2, **options)


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_it_computes_however_many_threads_are_asked_for(threads):
    np.testing.assert_array_equal(doubling()(VALUES, threads=threads), TWICE)


def test_what_was_compiled_is_kept_and_made_anew_where_it_is_damaged(tmp_path):
    kept, exported = tmp_path / "kept", tmp_path / "doubling.xml"
    kept.mkdir()
    given = opset13.parameter([-1, 3], np.float32)
    openvino.save_model(openvino.Model([opset13.multiply(given, opset13.constant(np.float32(2)))], [given]), exported)

    def compiled():
        graph = openvino.Core().read_model(exported)  # one made here would have other names each time
        doubled = CompiledGraph(graph, bfloat16=False, threads=2, kept_in=kept)(VALUES, threads=1)
        np.testing.assert_array_equal(doubled, TWICE)
        (blob,) = kept.iterdir()
        return blob

    whole = compiled().read_bytes()
    made = compiled().stat().st_mtime_ns
    assert compiled().stat().st_mtime_ns == made
    for ruin in (b"", whole[: len(whole) // 2]):
        compiled().chmod(0o600)
        compiled().write_bytes(ruin)
        assert len(compiled().read_bytes()) > len(ruin)


def test_where_nothing_can_be_kept_it_is_compiled_each_time(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (tmp_path / "gone", file):
        np.testing.assert_array_equal(doubling(kept_in=place)(VALUES, threads=1), TWICE)


SIGNALLED = """
import signal, threading
from tests.model.method.test_compiled_graph import VALUES, doubling
graphs = [doubling()]
graphs[0](VALUES, threads=1)
dropping = threading.Thread(target=graphs.clear)
dropping.start()
dropping.join()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


def test_signals_are_heard_after_the_last_graph_went_in_another_thread():
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
