"""The learning phase of a job in its records: planned once, each photo counted once, one model published."""

import pytest

from toco.jobs.ids import item_id
from toco.jobs.job import NewItem
from toco.jobs.keys import job_key
from toco.jobs.learning import Learning, LearntWords, NewLearning, notes, own_name, plan_of_job
from toco.jobs.learning_records import LearningRecords
from toco.jobs.published_models import PublishedVersion
from toco.jobs.records import JobNotFound
from toco.model.learning.learnt_spec import WordReport
from toco.model.photos.classes import VOC, ClassName, Vocabulary
from toco.model.photos.mapping import fold_mapping
from toco.model.photos.tag_check import check_tags
from toco.model.spec import BackboneSpec, ModelSpec

CLASSES = VOC.subset(("cat", "dog"))
TAGS = [("mug",), ("mug", "kitty"), ("cat",)] * 4 + [("lamp",)]
SPEC = ModelSpec(name="things", backbone=BackboneSpec(name="words"), classes=Vocabulary.of_names(("mug",)).classes)
VERSION = PublishedVersion(kind="learnt", digest="d", size=1, spec=SPEC, job="j", created_at=1.0)
LEARNT = LearntWords(name="things", version="things@0")


@pytest.fixture
def learning(records):
    return LearningRecords(records)


@pytest.fixture
def job(make_job):
    """A job of four photos that learns from the first two."""
    plan = plan_of_job("things", TAGS, CLASSES, {}).plan
    items = [NewItem(f"{n}.jpg", f"k{n}", tags=("mug",)) for n in range(4)]
    unread = (item_id(0), item_id(1))
    planned = plan.model_copy(update={"photos": 2})
    return make_job(items=items, learning=NewLearning(planned, unread)).id


def read_all(learning, job):
    return [learning.end_read(job, item) for item in learning.unread(job)]


def test_words_are_planned_that_no_class_means_and_enough_photos_show():
    planned = plan_of_job("things", TAGS, CLASSES, {})
    assert planned.plan.words == ("mug",)
    assert len(planned.items) == planned.plan.photos == len(TAGS)
    why = plan_of_job("things", [("mug",)] * 4, CLASSES, {})
    assert (why.plan, "5 photos or more" in why.why_not) == (None, True)


def test_what_a_mapping_means_is_learnt_under_its_own_word():
    mapping = fold_mapping({"K-17": "mug", "Tasse": "mug"}.items())
    tags = [("K-17",)] * 3 + [("Tasse",)] * 3
    assert plan_of_job("things", tags, CLASSES, mapping).plan.words == ("mug",)


def test_a_job_that_learns_labels_nothing_before_all_is_learnt(records, learning, job):
    def lease():
        return records.lease(job, item_id(3), owner="m", seconds=9, max_attempts=3)

    assert (records.job(job).state, lease()) == ("learning", "learning")
    assert read_all(learning, job) == ["more", "last"]
    assert (records.job(job).learning.state, lease()) == ("fitting", "learning")
    assert learning.begin_fit(job, owner="m1", seconds=9, max_attempts=3) == "fit"
    assert learning.end_fit(job, owner="m1", workspace="default", learnt=LEARNT, version=VERSION)
    record = records.job(job)
    assert (record.state, record.learnt.number, record.model_version) == ("queued", 1, "things@0")
    assert not isinstance(lease(), str)


def test_a_photo_that_is_read_twice_counts_once(records, learning, job):
    first = item_id(0)
    assert [learning.begin_read(job, first, max_attempts=3) for _ in range(2)] == ["read", "read"]
    assert [learning.end_read(job, first) for _ in range(2)] == ["more", "done"]
    assert learning.begin_read(job, first, max_attempts=3) == "over"
    assert records.job(job).learning.read == 1


def test_a_photo_at_which_the_process_ends_each_time_is_left_out(records, learning, job):
    first, second = learning.unread(job)
    assert [learning.begin_read(job, first, max_attempts=2) for _ in range(3)] == ["read", "read", "more"]
    learning.begin_read(job, second, max_attempts=1)
    learning.put_back(job, second)  # not its fault
    assert learning.begin_read(job, second, max_attempts=1) == "read"
    assert learning.end_read(job, second, left_out=True) == "last"
    assert (records.job(job).learning.left_out, records.job(job).learning.state) == (2, "fitting")


def test_the_fit_has_one_owner_whose_redelivery_takes_over_at_once(records, learning, job):
    read_all(learning, job)

    def begin(owner):
        return learning.begin_fit(job, owner=owner, seconds=60, max_attempts=2)

    assert [begin("m1"), begin("m2"), begin("m1")] == ["fit", "busy", "fit"]
    assert learning.renew_fit(job, owner="m1", seconds=60)
    assert not learning.renew_fit(job, owner="m2", seconds=60)
    assert not learning.end_fit(job, owner="m2", workspace="default", learnt=LEARNT, version=VERSION)
    learning.leave_fit(job, owner="m1")
    assert [begin("m2"), begin("m2")] == ["fit", "exhausted"]
    records.redis.hset(job_key(job), "fit_until", 0)
    assert begin("m3") == "exhausted"
    assert learning.end_fit(job, owner="m3", workspace="default", error="Too often.")
    assert begin("m4") == "over"
    record = records.job(job)
    assert (record.state, record.learnt, record.learning.error) == ("queued", None, "Too often.")


def test_a_cancelled_job_ends_its_learning_and_goes_on_with_it_when_it_is_tried_again(records, learning, job):
    learning.end_read(job, item_id(0))
    records.cancel(job)
    assert records.job(job).state == "cancelled"
    assert learning.begin_read(job, item_id(1), max_attempts=3) == "over"
    assert learning.end_read(job, item_id(1)) == "last"  # was in hand
    assert learning.begin_fit(job, owner="m1", seconds=9, max_attempts=3) == "over"
    records.retry(job, ("cancelled",))
    assert records.job(job).state == "learning"
    assert learning.begin_fit(job, owner="m1", seconds=9, max_attempts=3) == "fit"
    records.cancel(job)
    assert not learning.renew_fit(job, owner="m1", seconds=9)
    assert not learning.end_fit(job, owner="m1", workspace="default", learnt=LEARNT, version=VERSION)


def test_a_deleted_job_leaves_nothing_and_publishes_nothing(records, learning, job):
    learning.begin_read(job, item_id(0), max_attempts=3)
    records.delete_job(job)
    records.forget(job)
    assert learning.end_read(job, item_id(0)) == "gone"
    assert not learning.end_fit(job, owner="m1", workspace="default", learnt=LEARNT, version=VERSION)
    assert [key for key in records.redis.keys("*") if job in key or "published" in key] == []
    with pytest.raises(JobNotFound):
        records.job(job)


def test_names_of_what_is_learnt():
    assert own_name("01k9z3v6m3q2f1x8a7b5c4d2e0", "My café / 2") == "My-caf-2-c4d2e0"
    assert own_name("01k9z3v6m3q2f1x8a7b5c4d2e0", "") == "words-c4d2e0"


def test_what_is_said_of_a_job():
    check = check_tags(TAGS, CLASSES)
    plan = plan_of_job("things", TAGS, CLASSES, {}).plan
    assert notes("learn", check, Learning("reading", plan), "") == ("Learnt first, from 13 photos: mug.",)
    figures = {"alone": 4, "learnt_from": 8, "area": 0.2, "margin": 1.0, "recognised": 0.9}
    words = (
        WordReport(word="mug", photos=8, standing="learnt", **figures),
        WordReport(word="lamp", photos=1, standing="too_few_photos", **figures),
        WordReport(word="cat", photos=8, standing="learnt", **figures),
        WordReport(word="dog", photos=1, standing="too_few_photos", **figures),  # known: labelled all the same
    )
    labelled = (*CLASSES.classes, ClassName("mug", 200))
    after = check_tags([("lamp",)], CLASSES)
    said = notes("learn", after, Learning("done", plan, learnt=LearntWords(words=words)), "", labelled)
    assert said[1:] == (
        "mug: 8 photos, 4 with nothing else; learnt, recognised in 90% of its photos",
        "lamp: 1 photo, 4 with nothing else; left open: fewer than 5 photos",
    )
    assert notes("learn", check, Learning("done", plan, error="No photo could be read."), "")[-1] == (
        "Nothing was learnt: No photo could be read."
    )
    assert notes("learn", check, None, "Because.")[-1] == "Because."
    assert notes("learn", check_tags([("cat",)], CLASSES), None, "Because.") == ()
