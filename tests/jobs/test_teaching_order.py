"""The next photos to look at: doubtful ones, spread over classes and over kinds of photos."""

from toco.jobs.teaching_order import Candidate, teaching_order


def names(found) -> list[str]:
    return [candidate.id for candidate in found]


def test_of_one_kind_the_most_doubtful_comes_first():
    photos = [Candidate(str(n), n / 10, ("cat",)) for n in range(10)]
    assert names(teaching_order(photos)) == [str(n) for n in range(9, -1, -1)]


def test_the_first_photos_are_not_all_of_the_class_that_is_worst():
    cats = [Candidate(f"cat{n}", 0.9, ("cat",)) for n in range(50)]
    others = [Candidate(f"{name}{n}", 0.5, (name,)) for name in ("dog", "cow") for n in range(5)]
    first = teaching_order([*cats, *others], limit=8)
    assert {candidate.tags[0] for candidate in first} == {"cat", "dog", "cow"}
    assert first[0].tags == ("cat",)
    assert len(first) == 8


def test_a_kind_that_people_have_dealt_with_makes_way():
    photos = [Candidate("cat", 0.8, ("cat",)), Candidate("dog", 0.6, ("dog",))]
    assert names(teaching_order(photos)) == ["cat", "dog"]
    assert names(teaching_order(photos, seen=[("cat",)] * 3)) == ["dog", "cat"]


def test_photos_with_several_tags_count_for_each_class_and_every_photo_comes_once():
    photos = [Candidate("a", 0.9, ("cat", "dog")), Candidate("b", 0.8, ("dog",)), Candidate("c", 0.7, ("cow",))]
    assert names(teaching_order(photos)) == ["a", "c", "b"]
    assert names(teaching_order([Candidate("x", 0.0, ())])) == ["x"]
    assert teaching_order([]) == []
