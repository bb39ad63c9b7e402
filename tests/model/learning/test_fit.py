"""The fit: partial labels become words."""

import pytest
import torch
import torch.nn.functional as F

from toco.model.errors import InvalidArray
from toco.model.learning.fit import FitData, fit_words, start_labels, word_probabilities
from toco.model.learning.settings import FitSettings

SETTINGS = FitSettings(steps=30, batch=512)
CENTRES = F.normalize(torch.tensor([[1.0, 0, 0, 0.2], [0, 1.0, 0, 0.2], [0, 0, 1.0, 0.2]]), dim=1)


def tokens_of(kinds):
    """Noisy tokens (n, 4) of kinds 0 (background), 1, 2."""
    return F.normalize(CENTRES[kinds] + 0.15 * torch.randn(len(kinds), 4), dim=1)


def job(photos=24, each=40, *, fixed=()):
    """Photos that show word 0, word 1 or both; a third of each is background, with a doubtful prior."""
    kinds, photo, slots, prior = [], [], [], []
    for number in range(photos):
        shown = ((0,), (1,), (0, 1))[number % 3]
        own = torch.tensor([0, *(word + 1 for word in shown)])
        found = own[torch.arange(each) % len(own)]
        kinds.append(found)
        photo.append(torch.full((each,), number))
        slots.append([*shown, -1][:2] if len(shown) == 1 else list(shown))
        prior.append(torch.where(found > 0, 0.7, 0.3))
    slots, prior = torch.tensor(slots), torch.cat(prior)
    photo, kinds = torch.cat(photo), torch.cat(kinds)
    start = torch.cat([start_labels(prior[photo == number], slots[number]) for number in range(photos)])
    flags = torch.zeros(photos, dtype=torch.bool)
    flags[list(fixed)] = True
    return FitData(tokens_of(kinds), photo, slots, start, prior, flags, 2), kinds


def accuracy(fit, kinds, named=None):
    """Share of tokens of some kinds that are called what they are, or what they were `named`."""
    found = word_probabilities(tokens_of(kinds), fit.weight, fit.bias, SETTINGS.temperature).argmax(dim=1)
    return float((found == (kinds if named is None else named)).float().mean())


def test_words_are_told_apart_from_photos_that_show_one_or_both():
    data, kinds = job()
    assert accuracy(fit_words(data, SETTINGS), kinds) > 0.95


def test_the_last_labels_give_each_token_to_background_or_to_a_word_of_its_photo():
    data, _ = job()
    labels = fit_words(data, SETTINGS).labels.float()
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(len(labels)), atol=2e-3, rtol=0)
    absent = data.slots[data.photo] < 0
    assert float(labels[:, 1:][absent].max()) < 1e-3


def test_the_fit_is_the_same_every_time():
    data, _ = job()
    assert torch.equal(fit_words(data, SETTINGS).weight, fit_words(data, SETTINGS).weight)


def test_a_word_that_the_prior_misses_still_owns_a_share_of_its_photos():
    data, _ = job()
    hidden = data._replace(prior=torch.full_like(data.prior, 0.01))
    labels = fit_words(hidden, SETTINGS.model_copy(update={"least_share": 0.1})).labels.float()
    means = torch.stack([labels[data.photo == number].mean(dim=0) for number in range(len(data.slots))])
    assert float(means[:, 1:][data.slots >= 0].min()) > 0.08


def test_known_masks_stay_as_they_are_and_turn_the_fit():
    data, kinds = job(fixed=(2, 5))  # both words on each
    swapped = torch.where(kinds > 0, 3 - kinds, kinds)  # the person calls either word by the other's name
    truth = F.one_hot(swapped, 3).float()
    of_masks = data.fixed[data.photo]
    halves = torch.stack([1.0 - data.prior, data.prior / 2, data.prior / 2], dim=1)
    start = torch.where(of_masks[:, None], truth, halves)
    only_together = data._replace(start=start, slots=torch.tensor([[0, 1]]).expand(len(data.slots), 2))
    fit = fit_words(only_together, SETTINGS)
    torch.testing.assert_close(fit.labels[of_masks].float(), truth[of_masks])
    assert accuracy(fit, kinds, named=swapped) > 0.9


def test_what_the_network_knows_begins_with_its_opinion_and_the_rest_is_shared():
    own = torch.tensor([[0.9, float("nan"), float("nan")]])
    labels = start_labels(torch.tensor([0.8]), torch.tensor([4, 7, -1]), own)
    torch.testing.assert_close(labels, torch.tensor([[0.2, 0.72, 0.08, 0.0]]), atol=1e-4, rtol=0)


def test_a_photo_without_words_is_background():
    assert start_labels(torch.tensor([0.9]), torch.tensor([-1, -1])).tolist() == [[1.0, 0.0, 0.0]]


def test_counts_that_do_not_belong_together_are_refused():
    data, _ = job()
    with pytest.raises(InvalidArray, match="tokens"):
        fit_words(data._replace(prior=data.prior[1:]), SETTINGS)


def test_each_round_is_told_and_may_stop_the_fit():
    data, _ = job()
    told = []

    def stop(turn):
        told.append(turn)
        if turn == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_words(data, SETTINGS, on_round=stop)
    assert told == [1, 2]
