"""Tokens of one photo as bytes, to be fitted elsewhere or later; nothing is ever unpickled."""

from safetensors import SafetensorError
from safetensors.torch import load, save

from toco.model.errors import TocoError
from toco.model.learning.learn import SampledTokens


class InvalidTokens(TocoError):
    """Stored tokens are damaged."""

    code = "invalid_tokens"
    kind = "internal"


def tokens_bytes(tokens: SampledTokens) -> bytes:
    """Return tokens as a safetensors file; the same tokens give the same bytes."""
    named = {"tokens": tokens.tokens, "prior": tokens.prior, "own": tokens.own}
    if tokens.known is not None:
        named["known"] = tokens.known
    return save({name: tensor.contiguous() for name, tensor in named.items()})


def tokens_of(data: bytes) -> SampledTokens:
    """Read what `tokens_bytes` wrote. Raises InvalidTokens."""
    try:
        found = load(data)
        return SampledTokens(found["tokens"], found["prior"], found["own"], found.get("known"))
    except (SafetensorError, KeyError) as error:
        raise InvalidTokens(f"Stored tokens cannot be read: {error}.", fix="Learn the words again.") from None
