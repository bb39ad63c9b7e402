"""What OpenVINO compiled is kept where that can be written, and made anew where it is damaged."""

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
def test_it_computes_on_as_many_threads_as_are_asked_for(threads):
    np.testing.assert_array_equal(doubling()(VALUES, threads=threads), TWICE)


def test_what_was_compiled_is_kept_and_made_anew_where_it_is_damaged(tmp_path):
    np.testing.assert_array_equal(doubling(kept_in=tmp_path)(VALUES, threads=1), TWICE)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for ruin in (b"", whole[: len(whole) // 2]):
        kept.chmod(0o600)
        kept.write_bytes(ruin)
        np.testing.assert_array_equal(doubling(kept_in=tmp_path)(VALUES, threads=1), TWICE)
        assert len(next(tmp_path.iterdir()).read_bytes()) > len(ruin)


def test_where_nothing_can_be_kept_it_is_compiled_each_time(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for place in (tmp_path / "gone", file):
        np.testing.assert_array_equal(doubling(kept_in=place)(VALUES, threads=1), TWICE)
