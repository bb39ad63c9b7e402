"""CRF settings: the two published recipes, and nothing that makes no sense."""

import dataclasses
import re

import numpy as np
import pytest

from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF, CrfSettings
from toco.model.errors import InvalidOption


def test_recipes_are_the_published_ones():
    assert dataclasses.astuple(PSEUDO_MASK_CRF) == (10, 3.0, 3.0, 36.0, 3.0, 4.0)
    assert dataclasses.astuple(SEGMENTATION_CRF) == (10, 1.0, 1.0, 121.0, 5.0, 4.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", -1),
        ("iterations", 1001),
        ("iterations", 2.5),
        ("gaussian_sxy", 0.0),
        ("gaussian_sxy", float("nan")),
        ("gaussian_weight", -1.0),
        ("bilateral_sxy", float("inf")),
        ("bilateral_srgb", -3.0),
        ("bilateral_weight", float("nan")),
        ("bilateral_srgb", 1e-40),
        ("gaussian_sxy", 0.009),
        ("bilateral_sxy", 1e7),
        ("gaussian_weight", 1e300),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(
        InvalidOption, match=f"{field.replace('iterations', 'iterations are')}.*{re.escape(str(value))}"
    ):
        dataclasses.replace(PSEUDO_MASK_CRF, **{field: value})


def test_a_count_too_long_to_print_is_refused():
    with pytest.raises(InvalidOption, match="thousands of digits"):
        dataclasses.replace(PSEUDO_MASK_CRF, iterations=10**5000)


def test_the_ends_of_the_ranges_end_in_a_mask_or_in_a_typed_error():
    from toco.model.crf.errors import CrfError
    from toco.model.crf.lattice_backend import LatticeBackend

    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    maps = np.full((2, 12, 16), 0.5, np.float32)

    def refined(deviation: float) -> np.ndarray:
        settings = CrfSettings(gaussian_sxy=deviation, gaussian_weight=1e6, bilateral_sxy=deviation,
                               bilateral_srgb=deviation, bilateral_weight=1e6)  # fmt: skip
        return LatticeBackend().prepare(image, settings).infer(maps)

    assert np.isfinite(refined(1e6)).all()
    with pytest.raises(CrfError, match="lattice cells"):
        refined(0.01)


def test_a_weight_of_zero_leaves_a_kernel_out_and_is_allowed():
    assert dataclasses.replace(PSEUDO_MASK_CRF, gaussian_weight=0.0).gaussian_weight == 0.0


def test_settings_are_values():
    same = CrfSettings(**dataclasses.asdict(PSEUDO_MASK_CRF))
    assert same == PSEUDO_MASK_CRF
    assert hash(same) == hash(PSEUDO_MASK_CRF)
