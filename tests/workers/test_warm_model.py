"""Which models stay in memory: nothing is loaded again and again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toco.jobs.model_catalogue import Wishes
from toco.workers.warm_model import warm_plan


@pytest.mark.parametrize(
    ("used", "warm", "cold", "plan"),
    [
        ({"a": 0}, {}, {"a": 1}, (["a"], [])),  # unloaded as asked
        ({"a": 1}, {}, {"a": 1}, ([], [])),  # used after that: stays
        ({}, {"a": 1, "b": 2, "c": 3}, {}, ([], ["c", "b"])),  # as many as there is room for, newest wish first
        ({"b": 3, "c": 3}, {"a": 1, "b": 2, "c": 3}, {}, ([], [])),  # more wanted than fit: what is there stays
        ({"a": 0, "b": 0}, {"c": 1}, {}, (["a"], ["c"])),  # the one that rested longest makes way
        ({"a": 1, "b": 1}, {"c": 1}, {}, ([], [])),  # both were used since: a job's model is not pushed out
    ],
)
def test_the_plan(used, warm, cold, plan):
    wishes = Wishes(max([*warm.values(), *cold.values()], default=0), warm, cold)
    assert warm_plan(used, wishes, most=2) == plan


names = st.sampled_from("abcde")


@given(
    st.dictionaries(names, st.integers(0, 9)),
    st.dictionaries(names, st.integers(1, 9)),
    st.dictionaries(names, st.integers(1, 9)),
    st.integers(1, 3),
)
def test_a_plan_fits_and_once_carried_out_asks_for_nothing_more(used, warm, cold, most):
    used = dict(list(used.items())[:most])
    wishes = Wishes(9, warm, {name: number for name, number in cold.items() if name not in warm})
    drop, load = warm_plan(used, wishes, most=most)
    after = {name: last for name, last in used.items() if name not in drop} | dict.fromkeys(load, wishes.number)
    assert len(after) <= most
    assert warm_plan(after, wishes, most=most) == ([], [])
