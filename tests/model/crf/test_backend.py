"""The one interface of the dense CRF: choice of the backend, shapes, and errors that name what is wrong."""

import sys

import numpy as np
import pytest

from toco.model.crf import choice as backends
from toco.model.crf.choice import crf_backend
from toco.model.crf.errors import CrfBackendMissing
from toco.model.crf.settings import PSEUDO_MASK_CRF
from toco.model.errors import InvalidArray


@pytest.fixture(params=["lattice", "pydensecrf"])
def backend(request):
    if request.param == "pydensecrf":
        pytest.importorskip("pydensecrf")
    return crf_backend(request.param)


@pytest.fixture
def fresh_choice():
    backends.crf_backend.cache_clear()
    yield
    backends.crf_backend.cache_clear()


def test_our_own_kernel_is_the_default():
    assert crf_backend().name == "lattice"


def test_a_process_has_one_backend_of_a_name_so_that_lattices_are_shared():
    assert crf_backend("lattice") is crf_backend("lattice")


def test_without_numba_the_reference_takes_over(fresh_choice, monkeypatch):
    pytest.importorskip("pydensecrf")
    monkeypatch.setitem(sys.modules, "toco.model.crf.lattice_backend", None)
    assert crf_backend().name == "pydensecrf"


def test_without_either_the_error_says_what_to_install(fresh_choice, monkeypatch):
    monkeypatch.setitem(sys.modules, "toco.model.crf.lattice_backend", None)
    monkeypatch.setitem(sys.modules, "toco.model.crf.pydensecrf_backend", None)
    with pytest.raises(CrfBackendMissing, match=r"lattice: .*pydensecrf: .*pip install"):
        crf_backend()


def test_marginals_keep_the_shape_and_sum_to_one(backend, photo, softmax_maps):
    image = photo(side=64)
    probabilities = softmax_maps(3, *image.shape[:2])
    marginals = backend.infer(probabilities, image, PSEUDO_MASK_CRF)
    assert marginals.shape == probabilities.shape
    assert marginals.dtype == np.float32
    np.testing.assert_allclose(marginals.sum(0), 1, atol=1e-5)


def test_several_problems_at_once_equal_one_by_one(backend, photo, softmax_maps):
    image = photo(side=64)
    problems = np.stack([softmax_maps(3, *image.shape[:2], seed=seed) for seed in range(3)])
    crf = backend.prepare(image, PSEUDO_MASK_CRF)
    np.testing.assert_allclose(crf.infer(problems), np.stack([crf.infer(problem) for problem in problems]), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_goes_in(backend, photo, softmax_maps, dtype):
    image = photo(side=48)
    probabilities = softmax_maps(2, *image.shape[:2]).astype(dtype)
    assert backend.infer(probabilities, image, PSEUDO_MASK_CRF).dtype == np.float32


def test_strided_inputs_are_read_right(backend, photo, softmax_maps):
    image = photo(side=64)
    probabilities = softmax_maps(2, *image.shape[:2])
    mirrored = backend.infer(probabilities[..., ::-1], image[:, ::-1], PSEUDO_MASK_CRF)
    copied = backend.infer(probabilities[..., ::-1].copy(), image[:, ::-1].copy(), PSEUDO_MASK_CRF)
    np.testing.assert_array_equal(mirrored, copied)


def test_inputs_are_left_as_they_were(backend, photo, softmax_maps):
    image = photo(side=48)
    probabilities = softmax_maps(2, *image.shape[:2])
    before = probabilities.copy()
    backend.infer(probabilities, image, PSEUDO_MASK_CRF)
    np.testing.assert_array_equal(probabilities, before)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_an_image_of_another_shape_is_refused(backend, shape):
    with pytest.raises(InvalidArray, match=r"\(H, W, 3\)"):
        backend.prepare(np.zeros(shape, np.uint8), PSEUDO_MASK_CRF)


def test_a_float_image_is_refused(backend):
    with pytest.raises(InvalidArray, match="float32"):
        backend.prepare(np.zeros((4, 4, 3), np.float32), PSEUDO_MASK_CRF)


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (2, 5, 4), (0, 2, 4, 5), (1, 1, 2, 4, 5)])
def test_probabilities_of_another_shape_are_refused(backend, shape):
    crf = backend.prepare(np.zeros((4, 5, 3), np.uint8), PSEUDO_MASK_CRF)
    with pytest.raises(InvalidArray, match=r"K >= 2"):
        crf.infer(np.full(shape, 0.5, np.float32))


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, np.inf])
def test_logits_and_broken_values_are_refused(backend, value):
    crf = backend.prepare(np.zeros((4, 5, 3), np.uint8), PSEUDO_MASK_CRF)
    probabilities = np.full((2, 4, 5), 0.5, np.float32)
    probabilities[1, 2, 3] = value
    with pytest.raises(InvalidArray, match="range from"):
        crf.infer(probabilities)


def test_integer_maps_are_refused(backend):
    crf = backend.prepare(np.zeros((4, 5, 3), np.uint8), PSEUDO_MASK_CRF)
    with pytest.raises(InvalidArray, match="int64"):
        crf.infer(np.ones((2, 4, 5), np.int64))
