"""What is offered against a finding follows from the tags as they are now, and nothing is offered twice."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from toco.jobs.cures import cures
from toco.jobs.job import ItemRecord, Summary
from toco.model.photos.classes import VOC
from toco.model.photos.tag_doctor import Finding, Kind
from toco.model.photos.understanding import understand_all


def finding(kind: Kind, tag: str = "") -> Finding:
    return Finding(kind=kind, score=1.0, tag=tag, detail="Look.")


@pytest.fixture
def item() -> Callable[..., ItemRecord]:
    """Make items as they are after labelling."""

    def make(name: str, *words: str, by: str = "user", decision: str | None = None) -> ItemRecord:
        understood = understand_all(words, VOC)
        summary = Summary(
            tags=tuple(word.understood for word in understood if word.understood),
            tag_source=by,
            words=tuple(understood),
            open_tags=tuple(word.written for word in understood if word.is_open),
            ignore_ratio=0, area_ratio=0, score=0, doubt=0, width=9, height=9,
        )  # fmt: skip
        fields = {
            "name": name, "state": "done", "image_key": "k", "digest": "", "size": "1", "width": "9", "height": "9",
            "tags": "", "attempts": "1",
        }  # fmt: skip
        found = ItemRecord.from_hash("j", name.partition(".")[0], fields)
        return replace(found, tags=words if by == "user" else None, summary=summary, decision=decision)

    return make


def test_a_wrong_tag_is_taken_off_in_whatever_word_it_was_written(item):
    (cure,) = cures(finding("wrong_tag", "cat"), [item("1.jpg", "kitty", "unicorn", "dog")])
    assert (cure.path, cure.body) == ("/v1/jobs/j/items/1/tags", {"tags": ["unicorn", "dog"]})
    assert cures(finding("wrong_tag", "cat"), [item("1.jpg", "dog")]) == [], "somebody did so already"


def test_what_taking_the_only_tag_off_means_is_told(item):
    only, beside = cures(finding("wrong_tag", "cat"), [item("1.jpg", "kitty"), item("2.jpg", "cat", "dog")])
    assert only.body == {"tags": []}
    assert only.says == "Take 'cat' off '1.jpg': it shows none of the classes then, and all of its label is background."
    assert beside.says == "Take 'cat' off '2.jpg'."


def test_a_missing_tag_is_added_to_what_was_written(item):
    (cure,) = cures(finding("missing_tag", "person"), [item("1.jpg", "puppy")])
    assert cure.body == {"tags": ["puppy", "person"]}
    assert cures(finding("missing_tag", "person"), [item("1.jpg", "farmer")]) == []


def test_a_word_is_taken_off_and_added_in_whatever_spelling(item):
    (cure,) = cures(finding("wrong_tag", "Desk Lamp"), [item("1.jpg", "desk-lamp", "dog")])
    assert cure.body == {"tags": ["dog"]}
    assert cures(finding("missing_tag", "Desk Lamp"), [item("1.jpg", "desk_lamp")]) == []


def test_tags_that_the_classifier_chose_are_kept_beside_the_new_one(item):
    (cure,) = cures(finding("missing_tag", "person"), [item("1.jpg", "dog", by="model")])
    assert cure.body == {"tags": ["dog", "person"]}


def test_doubles_get_the_tags_of_all_and_where_these_agree_one_stays(item):
    differing = [item("1.jpg", "cat"), item("2.jpg", "dog"), item("3.jpg", "cat", "dog")]
    assert [(cure.item.id, cure.body["tags"]) for cure in cures(finding("looks_alike"), differing)] == [
        ("1", ["cat", "dog"]), ("2", ["dog", "cat"]),
    ]  # fmt: skip
    (spelled,) = cures(finding("looks_alike"), [item("1.jpg", "Desk Lamp"), item("2.jpg", "desk-lamp")])
    assert spelled.body == {"decision": "reject"}
    agreeing = [item("1.jpg", "cat"), item("2.jpg", "kitty"), item("3.jpg", "cat")]
    assert [(cure.path, cure.body) for cure in cures(finding("looks_alike"), agreeing)] == [
        (f"/v1/jobs/j/items/{n}", {"decision": "reject"}) for n in (2, 3)
    ]
    assert cures(finding("looks_alike"), [agreeing[0], item("2.jpg", "cat", decision="reject")]) == []


@pytest.mark.parametrize("kind", ["too_dark", "too_small"])
def test_a_bad_photo_may_be_rejected_once(kind, item):
    (cure,) = cures(finding(kind), [item("1.jpg", "cat")])
    assert cure.body == {"decision": "reject"}
    assert cures(finding(kind), [item("1.jpg", "cat", decision="reject")]) == []


@pytest.mark.parametrize("kind", ["always_together", "too_few", "not_checked"])
def test_where_more_photos_alone_help_nothing_is_offered(kind, item):
    assert cures(finding(kind, "cat"), [item("1.jpg", "cat")]) == []
