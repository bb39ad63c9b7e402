"""The colour map is VOC's."""

import numpy as np
import pytest

from toco.model.photos.palette import PALETTE, voc_palette


@pytest.mark.parametrize(
    ("index", "colour"),
    [
        (0, (0, 0, 0)), (1, (128, 0, 0)), (2, (0, 128, 0)), (3, (128, 128, 0)), (8, (64, 0, 0)), (12, (64, 0, 128)),
        (15, (192, 128, 128)), (20, (0, 64, 128)), (255, (224, 224, 192)),
    ],
)  # fmt: skip
def test_colours_of_the_development_kit(index, colour):
    assert tuple(voc_palette()[index]) == colour


def test_every_index_has_its_own_colour_and_nobody_can_repaint_it():
    assert len(np.unique(PALETTE, axis=0)) == 256
    with pytest.raises(ValueError):
        PALETTE[0] = 1
