"""Which photos a run labels, by which tags, and why not the others."""

import pytest

from toco.model.labelling.plan import PlannedPhoto, plan_photos
from toco.model.photos.assignment import assign, in_memory
from toco.model.photos.collection import read_folder


def plan(root, tables, untagged):
    collection = read_folder(root)
    return plan_photos(root, collection, assign(collection.photos, tables), untagged=untagged)


@pytest.mark.parametrize(
    ("untagged", "planned", "failed", "skipped"),
    [
        ("background", {"a.jpg": ("cat",), "b.png": (), "broken.jpg": (), "farm/c.jpg": ()}, set(), 0),
        ("model", {"a.jpg": ("cat",), "b.png": (), "broken.jpg": None, "farm/c.jpg": None}, set(), 0),
        ("skip", {"a.jpg": ("cat",), "b.png": ()}, set(), 2),
        ("refuse", {"a.jpg": ("cat",), "b.png": ()}, {"broken.jpg", "farm/c.jpg"}, 0),
        (None, {"a.jpg": ("cat",), "b.png": ()}, {"broken.jpg", "farm/c.jpg"}, 0),
    ],
)
def test_photos_that_nothing_lists(untagged, planned, failed, skipped, photos):
    # b.png has an empty list: it is known to show none of the classes. The others are not listed.
    found = plan(photos, [in_memory({"a.jpg": ["cat"], "b.png": []})], untagged)
    assert {photo.name: photo.tags for photo in found.photos} == planned
    assert set(found.failures) == failed
    assert found.skipped == skipped
    assert all(error.code == "empty_tags" and error.fix for error in found.failures.values())


def test_a_single_photo_and_no_tags_at_all(photos):
    path = photos / "farm" / "c.jpg"
    assert plan(path, [], None).photos == (PlannedPhoto("c.jpg", path, None),)


def test_what_the_folder_refuses_is_a_failure(photos):
    (photos / "dangling.jpg").symlink_to(photos / "gone")
    assert plan(photos, [], None).failures["dangling.jpg"].code == "unreadable_image"
