"""The reference check accepts what our own functions give, and names every array that is off."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.weights_io.test_published_checkpoint import published_state
from toco.model.reference_check import (
    EXPECTED_FILE,
    LABEL_TOLERANCE,
    TOLERANCE,
    WEIGHTS_FILE,
    Comparison,
    InvalidReference,
    _computed,
    check_reference,
)
from toco.model.weights_io.published_checkpoint import read_published

NAMES = {
    "cls", "cls_aux", "seg", "fmap", "cam_raw", "cam_aux_raw", "cam", "cam_aux", "cam_label", "cam_label_boxed",
    "roi_mask", "par_out", "refined_label", "ptc_label", "ptc_loss", "ptc_grad", "seg_loss", "seg_grad_norm",
    "ctc_loss", "ctc_grad", "lr_used",
}  # fmt: skip


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A folder of the same layout, computed with our own functions on a tiny network of two heads."""
    folder = tmp_path_factory.mktemp("reference")
    torch.save(published_state(5, num_heads=2), folder / WEIGHTS_FILE)
    checkpoint = read_published(folder / WEIGHTS_FILE)
    network = checkpoint.network(checkpoint.spec("r", names=list("abcde"), heads=2))
    rng = np.random.default_rng(0)
    arrays = {
        "image_uint8": rng.integers(0, 256, (2, 3, 48, 64), np.uint8),
        "tags": np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]], np.float32),
        "valid_box": np.array([[4, 48, 0, 64], [0, 40, 8, 60]]),
        "ptc_box": np.array([[0, 3, 0, 4], [0, 2, 0, 4]]),
        "par_in": rng.random((2, 3, 48, 64), np.float32),
        "ctc_student": rng.standard_normal((20, 8), np.float32),
        "ctc_teacher": rng.standard_normal((4, 8), np.float32),
        "ctc_flags": rng.integers(0, 2, (2, 10)).astype(np.float32),
        "lr_step": np.array([0, 100, 1500, 19999]),
    }
    for _ in range(3):  # later arrays start from earlier ones
        arrays |= {name: value.detach().numpy() for name, value in _computed(network, arrays)}
    np.savez(folder / EXPECTED_FILE, **arrays)
    return folder, arrays


def test_everything_matches_itself(reference):
    folder, _ = reference
    before = torch.random.get_rng_state()
    comparisons = check_reference(folder)
    assert {entry.name for entry in comparisons} == NAMES
    assert all(entry.passed for entry in comparisons)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["cam", "par_out", "refined_label", "ptc_grad", "ctc_loss", "lr_used"])
def test_an_array_that_is_off_is_named(name, reference, tmp_path):
    folder, arrays = reference
    (tmp_path / WEIGHTS_FILE).symlink_to(folder / WEIGHTS_FILE)
    right = arrays[name]
    wrong = 1 - (right == 1) if "label" in name else right * 1.001
    np.savez(tmp_path / EXPECTED_FILE, **arrays | {name: wrong})
    failed = [entry for entry in check_reference(tmp_path, heads=2) if not entry.passed]
    assert name in {entry.name for entry in failed}


def test_the_closest_number_of_heads_is_found_where_others_match_as_well(reference, tmp_path):
    _, arrays = reference
    state = published_state(5, num_heads=2)
    faint = {name: value * (0.3 if "qkv" in name else 1.0) for name, value in state.items()}
    torch.save(faint, tmp_path / WEIGHTS_FILE)
    checkpoint = read_published(tmp_path / WEIGHTS_FILE)
    inputs = {name: arrays[name] for name in ("image_uint8", "tags")}

    def computed(heads):
        network = checkpoint.network(checkpoint.spec("r", names=list("abcde"), heads=heads))
        return {name: value.detach().numpy() for name, value in _computed(network, inputs)}

    one, two = computed(1), computed(2)
    assert np.abs(one["cls"] - two["cls"]).max() < TOLERANCE * np.abs(two["cls"]).max()
    np.savez(tmp_path / EXPECTED_FILE, **inputs, **two)
    assert max(entry.error for entry in check_reference(tmp_path, heads=1)) > TOLERANCE / 100
    assert max(entry.error for entry in check_reference(tmp_path)) < TOLERANCE / 100


def test_another_shape_or_network_is_a_miss(reference, tmp_path):
    folder, arrays = reference
    (tmp_path / WEIGHTS_FILE).symlink_to(folder / WEIGHTS_FILE)
    inputs = {name: arrays[name] for name in ("image_uint8", "tags")}
    np.savez(tmp_path / EXPECTED_FILE, **inputs, cls=arrays["cls"][:1])
    (comparison,) = check_reference(tmp_path)
    assert comparison.error == float("inf")
    assert not comparison.passed


def test_tolerances():
    assert Comparison("cam", TOLERANCE, TOLERANCE).passed
    assert not Comparison("cam", float("nan"), TOLERANCE).passed
    assert LABEL_TOLERANCE == 0.001


def test_folders_without_a_reference(reference, tmp_path):
    folder, arrays = reference
    with pytest.raises(InvalidReference, match="cannot be read"):
        check_reference(tmp_path)
    (tmp_path / WEIGHTS_FILE).symlink_to(folder / WEIGHTS_FILE)
    np.savez(tmp_path / EXPECTED_FILE, cls=arrays["cls"])
    with pytest.raises(InvalidReference, match="lacks the array 'image_uint8'"):
        check_reference(tmp_path)
    np.savez(tmp_path / EXPECTED_FILE, **{name: arrays[name] for name in ("image_uint8", "tags")})
    with pytest.raises(InvalidReference, match="no known array"):
        check_reference(tmp_path)


def test_the_arrays_of_the_published_code_all_match():
    """The whole committed reference: every output array is compared, and within its tolerance."""
    folder = Path(__file__).parents[1] / "reference" / "toco_tiny"
    comparisons = check_reference(folder)
    with np.load(folder / EXPECTED_FILE) as arrays:
        inputs = {"image_uint8", "tags", "valid_box", "ptc_box", "par_in", "lr_step"}
        inputs |= {"ctc_student", "ctc_teacher", "ctc_flags"}
        assert {entry.name for entry in comparisons} == set(arrays.files) - inputs
    assert [entry.name for entry in comparisons if not entry.passed] == []
