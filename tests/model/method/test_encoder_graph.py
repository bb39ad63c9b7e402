"""Positions of a token grid are those that torch makes; `test_openvino_encoder` looks at the tokens."""

import numpy as np
import pytest
import torch

from toco.model.method import backbone

pytest.importorskip("openvino")

from toco.model.method import encoder_graph


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("grid", [(7, 7), (4, 11), (1, 1), (20, 3)])
def test_positions_are_resized_as_torch_does(grid, prefix):
    embedding = np.random.default_rng(0).normal(size=(1, prefix + 49, 6)).astype(np.float32)
    found = encoder_graph.resized_positions(embedding, grid, prefix=prefix)
    expected = backbone.resized_positions(torch.from_numpy(embedding), grid, prefix=prefix).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
