"""Graphs that OpenVINO computes on the processor, for photos side by side. Knows no torch."""

import logging
import os
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
import openvino

from toco.model.method.array_maps import Array

logger = logging.getLogger(__name__)

GROUP: Final = 128
"""Channels that share a scale in products of 8 bits: hardly slower than one scale for all, a quarter less error; half
as many are slow."""

# OpenVINO fills its tables of types at their first use, and asks Python for numpy's meanwhile: of two threads that come
# first together, one waits for the interpreter with the table locked, the other for the table with the interpreter
# locked, for ever. An import runs in one thread alone, so the tables are used here first.
openvino.Type.f32.to_dtype()
openvino.Tensor(np.zeros(1, np.float32), shared_memory=True).data.copy()

# One for the life of the process, since it holds the plugin of the processor. That gives the thread that loads it a
# stack for signals; unloaded in another thread, with the last graph, it would leave the first one a stack that is gone,
# and the next signal would end the process.
_CORE: Final = openvino.Core()


class CompiledGraph:
    """Runs a graph from any number of threads at once.

    Each photo gets as many threads of the processor as its caller says. Where that is one, photos side by side are
    computed in streams of their own, which wait for nobody.

    Args:
        graph: `openvino.Model`.
        bfloat16: whether to compute in it, or in float32, what is not in 8 bits; results are float32 in any case.
        threads: of the processor, all photos together.
        kept_in: folder in which OpenVINO keeps what it compiled, which saves two thirds of the time. What is damaged
            there, or of another version, it compiles anew; where the folder cannot be written, each time.
    """

    def __init__(self, graph: Any, *, bfloat16: bool, threads: int, kept_in: Path | None = None) -> None:
        self._graph = graph
        self._precision = openvino.Type.bf16 if bfloat16 else openvino.Type.f32
        self._threads = threads
        self._kept_in = kept_in
        self._compiled: dict[int, Any] = {}
        self._idle: dict[int, SimpleQueue[Any]] = {}
        self._compiling = threading.Lock()

    def __call__(self, *inputs: Array, threads: int) -> list[Array]:
        """Return what the graph gives for its inputs, in their orders.

        Args:
            inputs: contiguous.
            threads: for this call.
        """
        each = min(threads, self._threads)
        requests = self._requests(each)
        try:
            request = requests.get_nowait()
        except Empty:
            request = self._compiled[each].create_infer_request()
        request.infer(inputs, share_inputs=True)
        found = [request.get_output_tensor(place).data.copy() for place in range(len(self._graph.outputs))]
        requests.put(request)
        return found

    def _requests(self, each: int) -> "SimpleQueue[Any]":
        """Return the requests that nobody uses, of the graph compiled for so many threads a photo."""
        with self._compiling:
            if each not in self._compiled:
                self._compiled[each] = self._compile(each)
                self._idle[each] = SimpleQueue()
            return self._idle[each]

    def _compile(self, each: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": max(1, self._threads // each),
            # A thread that is bound to a core waits for whoever else is there.
            "ENABLE_CPU_PINNING": False,
            # Of weights in 8 bits alone: what they are multiplied with is rounded too.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
        }
        if self._kept_in is not None and os.access(self._kept_in, os.W_OK):
            try:
                return _CORE.compile_model(self._graph, "CPU", settings | {"CACHE_DIR": str(self._kept_in)})
            except RuntimeError as error:  # a full disk, or a folder that just went
                logger.warning("OpenVINO cannot keep what it compiled in %s: %s", self._kept_in, error)
        return _CORE.compile_model(self._graph, "CPU", settings)
