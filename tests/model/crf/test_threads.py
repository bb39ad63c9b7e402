"""Compiled kernels: without the GIL, one thread a call, with machine code kept on disk wherever that is possible."""

import importlib
import pkgutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from toco.model import crf
from toco.model.crf import compiled
from toco.model.crf.choice import crf_backend
from toco.model.crf.lattice_backend import LatticeBackend
from toco.model.crf.settings import PSEUDO_MASK_CRF

MODULES = [info.name for info in pkgutil.iter_modules(crf.__path__, "toco.model.crf.") if "pydensecrf" not in info.name]
KERNELS = {
    f"{module}.{name}": value
    for module in MODULES
    for name, value in vars(importlib.import_module(module)).items()
    if isinstance(value, Dispatcher)
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_every_kernel_releases_the_gil_and_starts_no_threads(kernel):
    assert kernel.targetoptions["nogil"]
    assert not kernel.targetoptions.get("parallel")


def test_threads_get_the_same_result_from_one_shared_crf(photo, softmax_maps):
    image = photo(side=96)
    crf = crf_backend("lattice").prepare(image, PSEUDO_MASK_CRF)
    problems = [softmax_maps(classes, *image.shape[:2], seed=classes) for classes in (2, 3, 4, 6) * 3]
    alone = [crf.infer(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        for expected, got in zip(alone, pool.map(crf.infer, problems), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_threads_that_build_the_same_lattices_at_once(photo, softmax_maps):
    image = photo(side=96)
    probabilities = softmax_maps(3, *image.shape[:2])
    backend, barrier = LatticeBackend(), threading.Barrier(4)

    def run(_):
        barrier.wait()
        return backend.infer(probabilities, image, PSEUDO_MASK_CRF)

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(run, range(4))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_without_a_writable_folder_kernels_compile_in_memory(monkeypatch):
    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    assert compiled.compiled(_twice)(21) == 42


def _twice(value):
    return 2 * value


def test_a_read_only_package_keeps_its_machine_code_in_the_users_cache(tmp_path):
    package = tmp_path / "installed"
    package.mkdir()
    (package / "kernel.py").write_text(
        "from toco.model.crf.compiled import compiled\n\n@compiled\ndef twice(value):\n    return 2 * value\n"
    )
    # A file in the way of __pycache__ makes the folder unusable even to root, who may write anywhere.
    (package / "__pycache__").write_text("")
    program = "import sys; sys.path.insert(0, sys.argv[1]); import kernel; print(kernel.twice(21))"
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-B", "-c", program, str(package)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "42\n", run.stderr
    assert list((tmp_path / "cache").rglob("*.nbi"))
