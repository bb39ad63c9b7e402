"""The labeler that the tests share."""

import pytest

from toco.model.labelling.labeler import Labeler


@pytest.fixture(scope="module")
def labeler(tiny_model):
    return Labeler.from_folder(tiny_model, device="cpu", runtime="torch")
