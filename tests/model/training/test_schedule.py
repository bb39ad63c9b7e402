"""The learning rate: linear warm-up, then a polynomial that counts from step 0, as published."""

from itertools import pairwise

import pytest
import torch

from toco.model.training.config import ScheduleConfig
from toco.model.training.schedule import learning_rate_factor


def test_the_published_trace_is_matched(expected, matches):
    schedule = ScheduleConfig()
    rates = [schedule.learning_rate * learning_rate_factor(int(step), schedule) for step in expected["lr_step"]]
    matches(torch.tensor(rates, dtype=torch.float64), expected["lr_used"])


def test_warm_up_is_a_straight_line_from_a_millionth():
    schedule = ScheduleConfig(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(step, schedule) for step in range(10)]
    steps = [later - earlier for earlier, later in pairwise(factors)]
    assert factors[0] == pytest.approx(1e-6)
    assert steps == pytest.approx([steps[0]] * 9)


def test_the_rate_drops_a_little_where_warm_up_ends_and_reaches_zero_at_the_end():
    schedule = ScheduleConfig(steps=100, warmup_steps=10, power=0.9)
    assert learning_rate_factor(10, schedule) == pytest.approx(0.9**0.9)
    assert learning_rate_factor(50, schedule) == pytest.approx(0.5**0.9)
    assert learning_rate_factor(100, schedule) == 0.0


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert learning_rate_factor(0, ScheduleConfig(steps=10, warmup_steps=0)) == 1.0
