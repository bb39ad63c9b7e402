"""The fit: which token shows which word, given only which words a photo shows.

Each token's label is one of a known few: background or one of its photo's words. Labels are estimated and a linear
model fitted to them in turn (expectation-maximisation of a softmax regression with partial labels).

References:
    Jin and Ghahramani, "Learning with Multiple Labels" (NIPS 2002); Dietterich et al. (1997), multiple instances.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from toco.model.errors import InvalidArray
from toco.model.learning.settings import FitSettings

_EPSILON = 1e-6
_SHARE_ROUNDS = 3  # raising one tag to its share lowers the others a little


class FitData(NamedTuple):
    """Tokens of all photos, with what is known of them. A *slot* is a place for a tag of the token's photo.

    Attributes:
        tokens: (n, d) float16, bfloat16 or float32, of length 1.
        photo: (n,) int64 number of the photo, 0..p - 1, rising: a photo's tokens stand together.
        slots: (p, k) int64 word of each slot of a photo, 0..C - 1; -1 for no word. Distinct in a photo.
        start: (n, 1 + k) float, probabilities to begin with: background, then the slots; see `start_labels`.
        prior: (n,) float in 0..1, how object-like a token is.
        fixed: (p,) bool, photos whose `start` is known to be true (a person's masks).
        words: C.
    """

    tokens: Tensor
    photo: Tensor
    slots: Tensor
    start: Tensor
    prior: Tensor
    fixed: Tensor
    words: int


class Fit(NamedTuple):
    """What was fitted.

    Attributes:
        weight: (1 + C, d) float32; row 0 is background.
        bias: (1 + C,) float32.
        labels: (n, 1 + k) float16, the last estimate.
    """

    weight: Tensor
    bias: Tensor
    labels: Tensor


class _Linear(NamedTuple):
    """The linear model in the making: (1 + C, d) and (1 + C,)."""

    weight: Tensor
    bias: Tensor


def start_labels(prior: Tensor, slots: Tensor, own: Tensor | None = None) -> Tensor:
    """Return the labels of one photo to begin with.

    An object-like place is shared by the photo's words: those that the network knows take what it says, the others
    share the rest alike.

    Args:
        prior: (n,) in 0..1.
        slots: (k,) words, -1 for none.
        own: (n, k) probability that an object here is the slot's word, NaN where the network does not know the word;
            None if it knows none.

    Returns:
        (n, 1 + k) float32 that sum to 1; without any word all is background.
    """
    there = slots >= 0
    count = int(there.sum())
    shares = prior.new_zeros(len(prior), len(slots))
    if count:
        shares[:, there] = 1.0 / count
        if own is not None:
            known = ~own.isnan().any(dim=0) & there
            rest = (1.0 - own[:, known].sum(dim=1, keepdim=True)).clamp_min(0.0)
            others = there & ~known
            shares[:, known] = own[:, known] + _EPSILON
            if others.any():
                shares[:, others] = rest / int(others.sum()) + _EPSILON
            shares = shares / shares.sum(dim=1, keepdim=True)
        shares = shares * prior[:, None]
    return torch.cat([1.0 - shares.sum(dim=1, keepdim=True), shares], dim=1)


def fit_words(data: FitData, settings: FitSettings, *, on_round: Callable[[int], None] = lambda _: None) -> Fit:
    """Fit all words at once.

    Args:
        data: the tokens.
        settings: of the fit.
        on_round: called with the number of rounds done; may raise to stop.

    Raises:
        InvalidArray: the counts do not belong together.
    """
    count, width = data.tokens.shape
    rising = bool((data.photo.diff() >= 0).all())
    shaped = data.start.shape == (count, 1 + data.slots.shape[1]) and len(data.photo) == len(data.prior) == count
    if not shaped or not rising:
        raise InvalidArray(
            f"{count} tokens, start {tuple(data.start.shape)}, {data.slots.shape[1]} slots.",
            fix="Give one row a token.",
        )
    prior = data.prior.float().clamp(0.0, 1.0) ** settings.prior_power
    labels = data.start.float()
    model = _Linear(torch.zeros(1 + data.words, width), torch.zeros(1 + data.words))
    for turn in range(settings.rounds):
        _maximise(data, labels, model, settings, turn)
        labels = torch.where(
            data.fixed[data.photo][:, None], data.start.float(), _estimate(data, prior, model, settings)
        )
        on_round(turn + 1)
    return Fit(model.weight, model.bias, labels.half())


def word_probabilities(tokens: Tensor, weight: Tensor, bias: Tensor, temperature: float) -> Tensor:
    """Return p(background or word | token): (n, d) normalised tokens to (n, 1 + C) float32."""
    return (temperature * tokens.float() @ weight.T + bias).softmax(dim=1)


def _channels(slots: Tensor) -> tuple[Tensor, Tensor]:
    """Return (p, 1 + k) the output of background and of each slot (0 where there is no word), and which are there."""
    there = torch.cat([slots.new_ones(len(slots), 1), (slots >= 0).long()], dim=1).bool()
    return torch.cat([slots.new_zeros(len(slots), 1), slots.clamp_min(-1) + 1], dim=1), there


def _maximise(data: FitData, labels: Tensor, model: _Linear, settings: FitSettings, turn: int) -> None:
    """Fit the linear model to the labels, in place, by Adam on random tokens."""
    weight, bias = model
    channels, _ = _channels(data.slots)
    importance = 1.0 + (settings.mask_weight - 1.0) * data.fixed[data.photo].float()
    mass = torch.zeros(1 + data.words).index_add_(
        0, channels[data.photo].flatten(), (labels * importance[:, None]).flatten()
    )
    share = mass / mass.sum().clamp_min(_EPSILON) * int((mass > 0).sum())
    balance = share.clamp_min(_EPSILON).rsqrt().clamp(*settings.class_weights)
    generator = torch.Generator().manual_seed(settings.seed + turn)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": settings.weight_decay}, {"params": [bias], "weight_decay": 0.0}],
        lr=settings.learning_rate,
    )
    size = min(settings.batch, len(data.tokens))
    for _ in range(settings.steps):
        # With replacement: a permutation of a million rows costs more than the step.
        rows = torch.randint(len(data.tokens), (size,), generator=generator)
        outputs = channels[data.photo[rows]]
        scores = settings.temperature * data.tokens[rows].float() @ weight.T + bias
        chosen = scores.log_softmax(dim=1).gather(1, outputs)
        weights = labels[rows] * balance[outputs] * importance[rows, None]
        loss = -(weights * chosen).sum() / weights.sum().clamp_min(_EPSILON)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    weight.requires_grad_(False)
    bias.requires_grad_(False)


def _estimate(data: FitData, prior: Tensor, model: _Linear, settings: FitSettings) -> Tensor:
    """Return the labels (n, 1 + k) that the linear model and the prior give, each tag owning a share of its photo."""
    channels, there = _channels(data.slots)
    counts = torch.bincount(data.photo, minlength=len(data.slots))
    # Only a photo's own words are asked for: the others cancel out where a token's labels are made to sum to 1.
    parts = [
        settings.temperature * tokens.float() @ model.weight[rows].T + model.bias[rows]
        for tokens, rows in zip(torch.split(data.tokens, counts.tolist()), channels, strict=True)
    ]
    labels = torch.cat(parts).masked_fill_(~there[data.photo], -torch.inf).softmax(dim=1)
    labels[:, 0] *= 1.0 - prior
    labels[:, 1:] *= prior[:, None]
    labels = labels + _EPSILON * there[data.photo]
    labels = labels / labels.sum(dim=1, keepdim=True)
    tokens_of_photo = counts.clamp_min(1).float()[:, None]
    for _ in range(_SHARE_ROUNDS):
        mean = torch.zeros(len(data.slots), labels.shape[1]).index_add_(0, data.photo, labels) / tokens_of_photo
        raised = (settings.least_share / mean.clamp_min(_EPSILON)).clamp_min(1.0)
        raised[:, 0] = 1.0  # background owns nothing by right
        labels = labels * raised[data.photo]
        labels = labels / labels.sum(dim=1, keepdim=True)
    return labels
