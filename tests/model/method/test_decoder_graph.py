"""The decoder as a graph gives the decoder's own logits; in 8 bits nearly the same, whatever the size of its tokens."""

import numpy as np
import pytest
import torch

from toco.model.method.network import LargeFOV

pytest.importorskip("openvino")

from toco.model.method.compiled_graph import CompiledGraph
from toco.model.method.decoder_graph import decoder_graph


@pytest.fixture(scope="module")
def decoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LargeFOV(24, 5).eval()


@pytest.fixture(scope="module")
def tokens():
    return torch.randn(1, 24, 14, 9, generator=torch.Generator().manual_seed(1))


def found_by(decoder, tokens, *, eight_bits):
    weights = [layer.weight.detach().numpy() for layer in (decoder.conv6, decoder.conv7, decoder.conv8)]
    graph = CompiledGraph(decoder_graph(weights, eight_bits=eight_bits), bfloat16=False, threads=1)
    return graph(tokens.numpy(), threads=1)[0]


def expected_of(decoder, tokens):
    with torch.inference_mode():
        return decoder(tokens).numpy()


def test_in_float32_its_logits_are_those_of_torch(decoder, tokens):
    expected = expected_of(decoder, tokens)
    np.testing.assert_allclose(found_by(decoder, tokens, eight_bits=False), expected, atol=1e-5)


@pytest.mark.parametrize("size", [0.01, 1.0, 50.0])
def test_in_8_bits_they_are_close_for_small_and_for_large_tokens(size, decoder, tokens):
    expected = expected_of(decoder, size * tokens)
    off = np.linalg.norm(found_by(decoder, size * tokens, eight_bits=True) - expected) / np.linalg.norm(expected)
    assert 0.0005 < off < 0.03  # less were no 8 bits


def test_of_nothing_it_says_nothing(decoder, tokens):
    assert not found_by(decoder, torch.zeros_like(tokens), eight_bits=True).any()
