"""Where a task's tags are found, and which of them counts."""

import pytest

from toco.service.label_studio.task_tags import find_tags, value_of


def regions(**value):
    return [{"type": next(iter(value)), "value": value}]


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (["cat", " dog ", "cat"], ("cat", "dog")),
        ("cat; dog|horse,cat", ("cat", "dog", "horse")),
        ({"choices": ["cat"]}, ("cat",)),
        ([{"choices": ["cat"]}, "dog"], ("cat", "dog")),
        ("", None),
        ([], None),
        (None, None),
        (7, None),
        ([7, None], None),
    ],
)
def test_data_may_hold_a_list_or_text(value, tags):
    assert find_tags({"data": {"tags": value}}, key="tags") == tags


def test_the_key_may_be_another_and_may_reach_into_objects():
    assert find_tags({"data": {"meta": {"seen": ["cat"]}, "tags": ["dog"]}}, key="meta.seen") == ("cat",)
    assert find_tags({"data": {"meta.seen": "cat"}}, key="meta.seen") == ("cat",)
    assert value_of({"data": {"image": "a.jpg"}}, "image") == "a.jpg"
    assert value_of({}, "image") is None


def test_the_freshest_statement_counts_alone():
    task = {
        "data": {"tags": ["bird"]},
        "predictions": [{"result": regions(choices=["sheep"])}],
        "annotations": [{"result": regions(choices=["cow"])}, {"result": regions(choices=["dog", "cat"])}],
        "drafts": [{"result": regions(choices=["horse"])}],
    }
    context = {"result": [*regions(choices=["person"]), *regions(keypointlabels=["boat"], x=1, y=2)]}
    assert find_tags(task, key="tags", context=context) == ("person", "boat")
    assert find_tags(task, key="tags") == ("horse",)
    del task["drafts"]
    assert find_tags(task, key="tags") == ("dog", "cat")
    del task["annotations"]
    assert find_tags(task, key="tags") == ("bird",)
    del task["data"]
    assert find_tags(task, key="tags") == ("sheep",)
    del task["predictions"]
    assert find_tags(task, key="tags") is None


def test_labels_of_drawn_regions_are_tags_only_in_the_open_editor():
    drawn = regions(brushlabels=["cat"], rle=[1, 2])
    assert find_tags({"annotations": [{"result": drawn}]}, key="tags") is None
    assert find_tags({}, key="tags", context={"result": drawn}) == ("cat",)


@pytest.mark.parametrize("broken", [None, "x", 1, [1], [{"value": 1}], [{"value": {"choices": "cat"}}], {}])
def test_what_does_not_fit_is_passed_over(broken):
    task = {"data": {}, "annotations": [{"result": broken}], "predictions": broken, "drafts": broken}
    assert find_tags(task, key="tags", context={"result": broken}) is None
