"""The network in graphs gives what the same network gives in torch."""

import numpy as np
import pytest
import torch

from toco.model.method.affinity import spread
from toco.model.method.device import Device
from toco.model.options import Affinity
from toco.model.weights_io.network_loading import FolderNetworks

pytest.importorskip("openvino")

CHANNELS = [3, 0]


@pytest.fixture(scope="module")
def seen(tiny_model, tmp_path_factory):
    """The graphs, what they see in an image, and what torch makes of it."""
    networks = FolderNetworks(tiny_model, Device("cpu"), cache=tmp_path_factory.mktemp("cache"), threads=2)
    graphs = networks.on_processor("openvino")
    image = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        classified, decoded = networks.on_torch("torch")(image)
    return graphs, graphs.look(image.numpy(), threads=1), classified, decoded


def same(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_tokens_and_logits(seen):
    graphs, look, classified, _ = seen
    same(look.patches, classified.patches[0].flatten(1).T)
    same(look.aux_patches, classified.aux_patches[0].flatten(1).T)
    assert look.grid == tuple(classified.patches.shape[2:])
    same(graphs.logits(look), classified.logits[0])


@pytest.mark.parametrize("auxiliary", [False, True])
def test_cams_of_some_classes(auxiliary, seen):
    graphs, look, classified, _ = seen
    expected = classified.aux_cam if auxiliary else classified.cam
    same(graphs.cams(look, CHANNELS, auxiliary=auxiliary), expected[0, CHANNELS])


def test_the_decoder(seen):
    graphs, look, _, decoded = seen
    same(graphs.decode(look, threads=2), decoded[0])


@pytest.mark.parametrize("settings", [Affinity(), Affinity(power=3.5, rounds=1)])
def test_maps_are_spread_over_alike_tokens(settings, seen):
    graphs, look, classified, _ = seen
    maps = classified.cam[:, CHANNELS].clamp_min(0)
    expected = spread(maps, classified.aux_patches, settings)[0]
    same(graphs.spread(maps[0].numpy(), look, settings, threads=1), expected)
