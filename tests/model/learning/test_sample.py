"""The sample: some photos of each word, in bounded memory."""

from collections import Counter

import pytest
from pydantic import ValidationError

from toco.model.learning.sample import choose_photos, tokens_a_photo
from toco.model.learning.settings import SampleSettings


def test_every_word_gets_photos_however_rare_it_is():
    words = [("cup",)] * 1000 + [("cup", "saucer")] * 7
    chosen = choose_photos(words, SampleSettings(photos_a_word=20))
    found = Counter(word for position in chosen for word in words[position])
    assert found["saucer"] == 7
    assert 20 <= found["cup"] <= 27


def test_photos_with_one_word_and_with_several_are_both_taken():
    words = [("cup",)] * 100 + [("cup", "jug")] * 100 + [("jug",)] * 100
    chosen = choose_photos(words, SampleSettings(photos_a_word=20))
    kinds = Counter(words[position] for position in chosen)
    assert min(kinds.values()) >= 5


def test_photos_without_words_are_left_out():
    assert choose_photos([(), ("cup",), ()], SampleSettings()) == (1,)


def test_the_number_of_photos_is_bounded_whatever_the_job():
    words = [(f"w{k % 200}", f"w{(k * 7 + 1) % 200}") for k in range(20_000)]
    chosen = choose_photos(words, SampleSettings())
    assert len(chosen) <= 8_000
    assert len({word for position in chosen for word in words[position]}) == 200


def test_tokens_fill_the_bound_and_never_pass_it():
    settings = SampleSettings()
    assert tokens_a_photo(600, settings) > 1024  # all of a photo's
    assert tokens_a_photo(8_000, settings) * 8_000 <= settings.tokens


def test_a_bound_that_cannot_be_kept_is_refused():
    with pytest.raises(ValidationError, match="tokens"):
        SampleSettings(photos=100_000)
