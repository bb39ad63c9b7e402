"""What may heal is tried again, later each time; what cannot is told at once."""

import pytest

from toco.jobs.model_catalogue import ModelBroken, ModelNotFound
from toco.jobs.retries import may_pass, seconds_until_retry
from toco.jobs.store import ObjectNotFound, StorageFull, StorageUnavailable
from toco.model.photos.images import UnreadableImage
from toco.model.spec import InvalidCheckpoint
from toco.workers.shard import LabellingFault
from toco.workers.warm_model import ModelChanged

PASSING = [
    StorageFull,
    StorageUnavailable,
    LabellingFault,
    ObjectNotFound,
    ModelNotFound,
    InvalidCheckpoint,
    ModelBroken,
]


@pytest.mark.parametrize("kind", PASSING)
def test_a_store_that_is_away_and_a_model_half_copied_may_heal(kind):
    assert may_pass(kind("no"))
    assert seconds_until_retry(kind("no"), 1, max_attempts=3, delay_seconds=5) == 5


@pytest.mark.parametrize("kind", [UnreadableImage, ModelChanged])
def test_a_broken_photo_stays_broken_and_a_model_that_is_another_one_stays_that(kind):
    assert not may_pass(kind("no"))
    assert seconds_until_retry(kind("no"), 1, max_attempts=3, delay_seconds=5) is None


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (4, None), (5, None)])
def test_the_wait_doubles_until_there_are_no_attempts_left(attempt, seconds):
    assert seconds_until_retry(StorageFull("no"), attempt, max_attempts=4, delay_seconds=5) == seconds
