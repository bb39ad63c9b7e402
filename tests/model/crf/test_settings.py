"""CRF settings: the two published recipes, and nothing that makes no sense."""

import dataclasses

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
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(InvalidOption, match=f"{field.replace('iterations', 'iterations are')}.*{value}"):
        dataclasses.replace(PSEUDO_MASK_CRF, **{field: value})


def test_a_weight_of_zero_leaves_a_kernel_out_and_is_allowed():
    assert dataclasses.replace(PSEUDO_MASK_CRF, gaussian_weight=0.0).gaussian_weight == 0.0


def test_settings_are_values():
    same = CrfSettings(**dataclasses.asdict(PSEUDO_MASK_CRF))
    assert same == PSEUDO_MASK_CRF
    assert hash(same) == hash(PSEUDO_MASK_CRF)
