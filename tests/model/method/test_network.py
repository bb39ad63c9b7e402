"""The network's heads: max-pooled logits, CAMs of every token, a bias-free LargeFOV decoder; input normalisation."""

import numpy as np
import pytest
import torch
from torch import nn

from toco.model.method.network import LargeFOV, ToCoNetwork, normalise_images
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec, ModelSpec


@torch.no_grad()
def test_image_logits_classify_the_channelwise_maximum_not_the_cam(network, close):
    classified, _ = network(torch.randn(2, 3, 64, 80))
    for logits, tokens, head in (
        (classified.logits, classified.patches, network.classifier),
        (classified.aux_logits, classified.aux_patches, network.aux_classifier),
    ):
        pooled = tokens.numpy().max(axis=(2, 3))
        close(logits, pooled @ head.weight[:, :, 0, 0].numpy().T)
    assert not torch.allclose(classified.logits, classified.cam.amax(dim=(2, 3)), atol=1e-3)


@torch.no_grad()
def test_raw_cams_are_the_classifier_on_every_token(network, close):
    classified, _ = network(torch.randn(2, 3, 64, 80))
    for cam, tokens, head in (
        (classified.cam, classified.patches, network.classifier),
        (classified.aux_cam, classified.aux_patches, network.aux_classifier),
    ):
        assert cam.shape == (2, 5, 4, 5)
        close(cam, np.einsum("cd,bdhw->bchw", head.weight[:, :, 0, 0].numpy(), tokens.numpy()))


def test_no_head_has_a_bias(network):
    heads = (network.classifier, network.aux_classifier, network.decoder)
    convolutions = [layer for head in heads for layer in head.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(layer.bias is None for layer in convolutions)


@torch.no_grad()
def test_the_decoder_sees_ten_tokens_far_and_no_further():
    decoder = LargeFOV(2, 3)
    base = torch.randn(1, 2, 25, 25)
    changed = base.clone()
    changed[0, :, 12, 12] += 100.0
    moved = (decoder(base) != decoder(changed)).any(dim=1)[0].nonzero()
    assert moved.amin(dim=0).tolist() == [2, 2]  # two 3x3 convolutions of dilation 5
    assert moved.amax(dim=0).tolist() == [22, 22]
    assert decoder(base).shape == (1, 3, 25, 25)


def test_a_spec_describes_a_network():
    spec = ModelSpec(
        name="n",
        backbone=BackboneSpec(
            name="vit_tiny_patch16_224", image_size=64, arguments={"embed_dim": 24, "depth": 4, "num_heads": 2}
        ),
        aux_layer=-2,
        classes=({"name": "hen", "index": 1}, {"name": "goat", "index": 7}),
    )
    network = ToCoNetwork.from_spec(spec)
    assert network.classes == 2
    assert network.encoder.aux_block == 2
    assert network.encoder.positions.shape == (1, 1 + 4 * 4, 24)
    assert network.decoder.conv8.out_channels == 3  # background in front


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalised_images_follow_imagenet(kind, device, close):
    pixels = torch.randint(0, 256, (2, 3, 4, 5)).to(kind)
    wanted = (pixels.numpy() / 255.0 - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    found = normalise_images(pixels.to(device), IMAGENET_MEAN, IMAGENET_STD)
    assert found.dtype == torch.float32
    close(found, wanted)


@torch.no_grad()
def test_published_outputs_are_matched(reference_network, expected, matches):
    images = normalise_images(expected["image_uint8"], IMAGENET_MEAN, IMAGENET_STD)
    classified, decoded = reference_network(images)
    matches(classified.logits, expected["cls"])
    matches(classified.aux_logits, expected["cls_aux"])
    matches(classified.cam, expected["cam_raw"])
    matches(classified.aux_cam, expected["cam_aux_raw"])
    matches(decoded, expected["seg"])
