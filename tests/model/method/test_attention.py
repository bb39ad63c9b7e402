import pytest
import torch
import torch.nn.functional as F

from toco.model.method.attention import BLOCK_STEP, BlockwiseAttention, blockwise_attention
from toco.model.method.backbone import Encoder

LENGTHS = (1, 3, BLOCK_STEP - 1, BLOCK_STEP, BLOCK_STEP + 1, 3 * BLOCK_STEP + 7)


def _random(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toco.model.method.attention.SCORES", 1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("length", LENGTHS)
def test_blocks_give_what_torch_gives(length: int) -> None:
    query, key = _random(2, 3, length, 16, dtype=torch.float32), _random(2, 3, 301, 16, dtype=torch.float32)
    value = _random(2, 3, 301, 8, dtype=torch.float32)
    expected = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(blockwise_attention(query, key, value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shift", [-400.0, -50.0, 50.0, 400.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_out_of_the_reach_of_the_exponent_give_what_torch_gives(shift: float, dtype: torch.dtype) -> None:
    query, key, value = (_random(1, 2, length, 16, dtype=torch.float32) for length in (150, 90, 91))
    value = value[:, :, 1:]
    query[..., 0], key[:, :, ::2, 0], key[:, :, 1::2, 0] = 4.0, 1.0, -1.0
    query[:, :, 100:, 0] = shift  # scores of the last queries are shifted by up to 100, up and down
    expected = F.scaled_dot_product_attention(query, key, value)
    found = blockwise_attention(query.to(dtype), key.to(dtype), value.to(dtype)).float()
    rounding = 0.15 if abs(shift) < 100.0 else 0.5  # bfloat16 knows scores over 128 to a whole number
    tolerance = 1e-4 if dtype == torch.float32 else rounding
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_calls_without_gradients_in_bfloat16_are_blockwise(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    def noted(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        lengths.append(query.shape[2])
        return blockwise_attention(query, key, value)

    monkeypatch.setattr("toco.model.method.attention.blockwise_attention", noted)
    with BlockwiseAttention():
        for length, dtype, gradients, options in (
            (5, torch.bfloat16, False, {}),
            (6, torch.float32, False, {}),
            (7, torch.bfloat16, True, {}),
            (8, torch.bfloat16, False, {"is_causal": True}),
            (9, torch.bfloat16, False, {"attn_mask": None, "dropout_p": 0.0, "is_causal": False}),
        ):
            tokens = _random(1, 2, length, 16, dtype=dtype)
            with torch.set_grad_enabled(gradients):
                assert F.scaled_dot_product_attention(tokens, tokens, tokens, **options).shape == tokens.shape
    assert lengths == [5, 9]


@torch.inference_mode()
def test_the_encoder_in_bfloat16_stays_close_to_float32() -> None:
    torch.manual_seed(0)
    encoder = Encoder("vit_tiny_patch16_224", image_size=64).eval()
    images = torch.randn(2, 3, 320, 320)  # 400 tokens: two blocks of queries
    exact = encoder(images).patches
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(images).patches
    assert float((exact - rounded).abs().mean()) < 0.02 * float(exact.abs().mean())
