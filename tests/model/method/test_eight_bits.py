"""An encoder with its large products in 8 bits: evened it gives the same tokens, rounded nearly the same."""

import numpy as np
import pytest
import torch

from toco.model.method.backbone import Encoder

pytest.importorskip("openvino")

import openvino
from openvino import opset13

from toco.model.method import eight_bits, encoder_graph, openvino_encoder

SIZES = {"embed_dim": 128, "depth": 3, "num_heads": 4, "mlp_ratio": 4.0}
SHAPES = {
    "plain": ("vit_tiny_patch16_224", {}),
    "layer scale": ("vit_tiny_patch16_224", {"init_values": 0.1}),
    "no bias of queries": ("vit_tiny_patch16_224", {"qkv_bias": False}),
}


def built(name, arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(name, image_size=64, arguments=SIZES | arguments).eval()


@pytest.fixture(scope="module", params=sorted(SHAPES))
def encoder(request):
    return built(*SHAPES[request.param])


def with_large_channels(encoder):
    """As trained ones have them: a few channels far larger than the others enter the hidden layers."""
    with torch.no_grad():
        for block in encoder.vit.blocks:
            block.norm2.weight[::40] *= 30.0
            block.mlp.fc1.weight[:, ::40] /= 30.0
    return encoder


def tokens_of(folder, images, *, bfloat16=False):
    with torch.inference_mode():
        graph = encoder_graph.EncoderGraph(folder, bfloat16=bfloat16, threads=1)
        return openvino_encoder.OpenVinoEncoder(graph)(images).patches


def off(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_evened_it_gives_the_same_tokens(encoder, close):
    even = eight_bits.evened(encoder, side=64)
    images = torch.randn(2, 3, 80, 48)
    with torch.inference_mode():
        for found, expected in zip(even(images), encoder(images), strict=True):
            close(found, expected)


def test_the_encoder_itself_stays_as_it_is(encoder):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    even = eight_bits.evened(encoder, side=64)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(even.vit.blocks[0].mlp.fc1.weight, encoder.vit.blocks[0].mlp.fc1.weight)


def test_a_block_of_another_kind_is_left_alone(encoder):
    other = built("vit_tiny_patch16_224", {"qk_norm": True})
    other.vit.blocks[0].mlp.norm = torch.nn.LayerNorm(other.vit.blocks[0].mlp.fc1.out_features)
    even = eight_bits.evened(other, side=64)
    assert torch.equal(even.vit.blocks[0].mlp.fc1.weight, other.vit.blocks[0].mlp.fc1.weight)
    assert not torch.equal(even.vit.blocks[1].mlp.fc1.weight, other.vit.blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_tokens_in_8_bits_are_close_to_those_in_float32(bfloat16, encoder, tmp_path):
    openvino_encoder.export_encoder(encoder, tmp_path / "whole", eight_bits=True)
    images = eight_bits.drawn_pictures(2, 96)
    with torch.inference_mode():
        expected = encoder(images).patches
    found = tokens_of(tmp_path / "whole", images, bfloat16=bfloat16)
    assert found.dtype == torch.float32
    assert 0.0001 < off(found, expected) < 0.02  # less were no 8 bits


def test_large_channels_take_no_bits_from_the_others(tmp_path, monkeypatch):
    encoder = with_large_channels(built(*SHAPES["plain"]))
    images = eight_bits.drawn_pictures(1, 64)
    with torch.inference_mode():
        expected = encoder(images).patches
    openvino_encoder.export_encoder(encoder, tmp_path / "evened", eight_bits=True)
    monkeypatch.setattr(openvino_encoder, "evened", lambda encoder, side: encoder)
    openvino_encoder.export_encoder(encoder, tmp_path / "as it is", eight_bits=True)
    evened, as_it_is = (off(tokens_of(tmp_path / name, images), expected) for name in ("evened", "as it is"))
    assert evened < 0.75 * as_it_is


def attention(width=32, count=3, *, causal=False):
    """One attention of tokens (1, 2, n, width), as a graph; with more than three inputs it has a mask."""
    inputs = [opset13.parameter([-1, 2, -1, width], np.float32) for _ in range(3)]
    masks = [opset13.parameter([-1, 2, -1, -1], np.float32) for _ in range(count - 3)]
    found = opset13.scaled_dot_product_attention(*inputs, *masks, causal=causal)
    return openvino.Model([found], [*inputs, *masks], "attention")


def attended(graph, inputs):
    settings = {"INFERENCE_PRECISION_HINT": openvino.Type.f32}
    return torch.from_numpy(openvino.Core().compile_model(graph, "CPU", settings)(inputs)[0].copy())


@pytest.mark.parametrize("mean", [0.0, 40.0])
def test_attention_in_8_bits_is_close_whatever_all_keys_share(mean):
    chance = np.random.default_rng(0)
    queries, keys, values = chance.normal(size=(3, 2, 2, 50, 32)).astype(np.float32)
    inputs = [queries * 3.0, keys + np.float32(mean) * chance.normal(size=(32,)).astype(np.float32), values]
    expected, graph = attended(attention(), inputs), attention()
    assert eight_bits.round_attention(graph) == 1
    assert 0.0001 < off(attended(graph, inputs), expected) < 0.02  # less were no 8 bits


def test_tokens_without_any_size_attend_to_all_alike():
    graph = attention()
    eight_bits.round_attention(graph)
    values = np.random.default_rng(0).normal(size=(1, 2, 5, 32)).astype(np.float32)
    found = attended(graph, [np.zeros_like(values), np.zeros_like(values), values])
    assert np.allclose(found, values.mean(axis=2, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "graph", [lambda: attention(count=4), lambda: attention(width=-1), lambda: attention(causal=True)]
)
def test_attention_with_a_mask_or_of_unknown_width_is_left_alone(graph):
    assert eight_bits.round_attention(graph()) == 0


def test_the_graph_is_smaller_by_the_weights_that_were_rounded(encoder, tmp_path):
    sizes = []
    for eight in (False, True):
        folder = tmp_path / str(eight)
        openvino_encoder.export_encoder(encoder, folder, eight_bits=eight)
        sizes.append((folder / "encoder.bin").stat().st_size)
    rounded = SIZES["depth"] * SIZES["embed_dim"] ** 2 * (3 + 4 + 4)
    assert sizes[0] - sizes[1] == pytest.approx(3 * rounded, rel=0.05)


@pytest.mark.parametrize(("columns", "groups"), [(50, 1), (eight_bits.GROUP, 1), (3 * eight_bits.GROUP, 3)])
def test_a_rounded_weight_is_at_most_half_a_step_off(columns, groups):
    weight = np.random.default_rng(0).normal(size=(7, columns)).astype(np.float32)
    weight[3] = 0.0
    whole, scale = eight_bits.rounded(weight)
    assert (whole.shape, whole.dtype) == ((7, groups, columns // groups), np.int8)
    assert (scale.shape, scale.dtype) == ((7, groups, 1), np.float32)
    assert np.all(np.abs((whole * scale).reshape(7, columns) - weight) <= 0.501 * scale.max())
    assert set(np.abs(whole).max(axis=2).ravel()) == {0, 127}


def test_the_drawn_pictures_are_always_the_same_and_alike_to_photos_in_range():
    pictures = eight_bits.drawn_pictures(2, 96)
    assert torch.equal(pictures, eight_bits.drawn_pictures(2, 96))
    assert pictures.shape == (2, 3, 96, 96)
    assert -2.3 < float(pictures.min()) < -1.0
    assert 1.0 < float(pictures.max()) < 2.7
