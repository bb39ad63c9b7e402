"""Names of a job's photos: each once, in time that does not grow with them."""

import time

from toco.model.photos.names import UniqueNames


def test_a_name_that_was_given_gets_a_number():
    names = UniqueNames()
    taken = [names.take(name) for name in ("a.jpg", "a.jpg", "b/a.jpg", "a_2.jpg", "a.jpg", "a_2.jpg", "a")]
    assert taken == ["a.jpg", "a_2.jpg", "b/a.jpg", "a_2_2.jpg", "a_3.jpg", "a_2_3.jpg", "a"]


def test_ten_thousand_photos_of_one_name_take_no_longer_each_than_a_few():
    names = UniqueNames()
    began = time.process_time()
    taken = {names.take("photo.jpg") for _ in range(10_000)}
    assert len(taken) == 10_000
    assert time.process_time() - began < 5  # minutes, when each one counted from the beginning
