"""The encoder is timm's own ViT with ToCo's tokens and the published resampling of the position embedding."""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed

from toco.model.errors import InvalidArray, InvalidOption
from toco.model.method.backbone import Encoder, native_image_size

TINY = {"embed_dim": 24, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0}

# Each is plain in its own way: patch sizes, LayerScale, register tokens, no class position, a norm in front.
PLAIN = {
    "vit_base_patch16_224": 16,
    "vit_small_patch16_224": 16,
    "vit_base_patch32_224": 32,
    "vit_base_patch8_224": 8,
    "deit_base_patch16_224": 16,
    "deit3_base_patch16_224": 16,
    "vit_small_patch14_dinov2": 14,
    "vit_small_patch14_reg4_dinov2": 14,
    "vit_base_patch16_clip_224": 16,
}


def tiny(name="vit_tiny_patch16_224", *, grid=4, patch=16, **options):
    return Encoder(name, image_size=grid * patch, arguments=TINY, **options).eval()


def randomise(module):
    """Give every parameter a value that matters: fresh LayerScale is nearly zero, fresh registers are small."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module


@pytest.mark.parametrize(("name", "patch"), PLAIN.items())
@torch.no_grad()
def test_any_plain_vit_gives_the_tokens_of_timm(name, patch, close):
    encoder = randomise(tiny(name, patch=patch))
    theirs = timm.create_model(name, num_classes=0, img_size=4 * patch, **TINY).eval()
    theirs.load_state_dict(encoder.vit.state_dict())
    images = torch.randn(2, 3, 4 * patch, 4 * patch)
    inner = {}
    theirs.blocks[1].register_forward_hook(lambda _module, _inputs, output: inner.update(aux=output))
    final = theirs.forward_features(images)

    tokens = encoder(images)
    assert (encoder.patch_size, encoder.width) == (patch, 24)
    assert tokens.patches.shape == tokens.aux_patches.shape == (2, 24, 4, 4)
    prefix = theirs.num_prefix_tokens
    close(tokens.class_token, final[:, 0])
    close(tokens.patches.flatten(2), final[:, prefix:].transpose(1, 2))
    close(tokens.aux_patches.flatten(2), inner["aux"][:, prefix:].transpose(1, 2))  # third from last, not normed


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("swin_tiny_patch4_window7_224", {"embed_dim": 12, "depths": (1, 1, 1, 1)}, "not a plain ViT"),
        ("vit_base_patch16_siglip_224", TINY, "not a plain ViT"),  # no class token
        ("vit_relpos_base_patch16_224", TINY, "not a plain ViT"),  # no position embedding to resize
        ("deit_tiny_distilled_patch16_224", TINY, "not a plain ViT"),  # a second class token that nothing here feeds
        ("vit_tiny_r_s16_p8_224", {"depth": 1}, "not a plain ViT"),  # patches come out of a ResNet
        ("resnet18", {}, "cannot build"),
        ("no_such_model", {}, "cannot build"),
    ],
)
def test_a_backbone_that_is_no_plain_vit_is_refused(name, arguments, reason):
    with pytest.raises(InvalidOption, match=reason) as caught:
        Encoder(name, image_size=64, arguments=arguments)
    assert name in caught.value.detail
    assert "vit_" in caught.value.fix


def test_arguments_that_contradict_each_other_are_refused():
    with pytest.raises(InvalidOption, match="cannot build"):
        Encoder("vit_tiny_patch16_224", image_size=64, arguments=TINY | {"num_heads": 5})


@pytest.mark.parametrize(("layer", "block"), [(-1, 3), (-3, 1), (-4, 0)])
def test_the_auxiliary_layer_counts_from_the_end(layer, block):
    assert tiny(aux_layer=layer).aux_block == block


@pytest.mark.parametrize("layer", [-5, 0, 2])
def test_an_auxiliary_layer_that_does_not_exist_is_refused(layer):
    with pytest.raises(InvalidOption, match=f"layer {layer} of a backbone with 4 blocks"):
        tiny(aux_layer=layer)


@pytest.mark.parametrize("grid", [(3, 4), (6, 5), (2, 9)])
@torch.no_grad()
def test_positions_are_resized_bicubically_without_antialias(grid, close):
    encoder = tiny()
    torch.nn.init.normal_(encoder.positions)
    square = encoder.positions[0, 1:].reshape(4, 4, 24).permute(2, 0, 1)[None]
    resized = F.interpolate(square, size=grid, mode="bicubic", align_corners=False, antialias=False)

    found = encoder.position_embedding(grid)
    assert torch.equal(found[0, 0], encoder.positions[0, 0])  # the class keeps its position
    close(found[0, 1:], resized[0].flatten(1).T)
    if min(grid) < 4:  # shrinking is where timm's own resampling, which antialiases, differs
        timms = resample_abs_pos_embed(encoder.positions, list(grid), num_prefix_tokens=1)
        assert float((found - timms).abs().max()) > 0.1


def test_positions_at_their_own_grid_are_untouched():
    encoder = tiny()
    assert encoder.position_embedding((4, 4)) is encoder.positions


@torch.no_grad()
def test_registers_get_no_position_where_the_backbone_gives_them_none():
    encoder = tiny("vit_small_patch14_reg4_dinov2", patch=14)
    assert encoder.position_embedding((3, 5)).shape == (1, 15, 24)
    tokens, grid = encoder.embed(torch.zeros(2, 3, 42, 70))
    assert grid == (3, 5)
    assert tokens.shape == (2, 1 + 4 + 15, 24)
    assert torch.equal(tokens[0, 1:5], encoder.vit.reg_token[0])


@torch.no_grad()
def test_a_remainder_of_the_patch_size_is_dropped(close):
    encoder = tiny()
    images = torch.randn(1, 3, 70, 95)
    for ours, cut in zip(encoder(images), encoder(images[:, :, :64, :80]), strict=True):
        close(ours, cut)


@pytest.mark.parametrize("split", [0, 1])
@torch.no_grad()
def test_running_the_lower_blocks_apart_changes_nothing(split):
    encoder = tiny()
    images = torch.randn(2, 3, 64, 48)
    tokens, grid = encoder.embed(images)
    for block in encoder.vit.blocks[:split]:
        tokens = block(tokens)
    for apart, whole in zip(encoder.run_blocks(tokens, grid, first=split), encoder(images), strict=True):
        assert torch.equal(apart, whole)


@torch.no_grad()
def test_each_image_is_encoded_by_itself(close):
    encoder = tiny()
    images = torch.randn(3, 3, 48, 64)
    batched = encoder(images)
    for position in range(3):
        for all_images, one in zip(batched, encoder(images[position : position + 1]), strict=True):
            close(all_images[position], one[0])


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 15, 64), (1, 3, 64, 0)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(InvalidArray) as caught:
        tiny()(torch.zeros(shape))
    assert str(tuple(shape)) in caught.value.detail
    assert "16" in caught.value.fix


def test_published_tokens_are_matched(reference_network, expected, matches):
    pixels = expected["image_uint8"].float() / 255.0
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        tokens = reference_network.encoder((pixels - mean) / std)
    matches(tokens.patches, expected["fmap"])
    assert np.isfinite(tokens.class_token.numpy()).all()


def test_weights_that_cannot_be_fetched_say_what_else_to_do(monkeypatch):
    def unreachable(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(InvalidOption, match="no route to host") as caught:
        Encoder("vit_base_patch16_224", pretrained=True)
    assert "file of initial weights" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vit_base_patch16_224", 224),
        ("vit_base_patch16_384", 384),
        ("vit_small_patch14_dinov2", 518),
        ("no_such_model", 224),
        ("vit_base_patch16_224.no_such_tag", 224),
    ],
)
def test_the_native_image_size_is_that_of_timms_weights(name, side):
    assert native_image_size(name) == side
