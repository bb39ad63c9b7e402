"""The learning-rate schedule: linear warm-up, then polynomial decay.

References:
    ToCo, section 4.1.
"""

from toco.model.training.config import ScheduleConfig


def learning_rate_factor(step: int, schedule: ScheduleConfig) -> float:
    """Return the factor of the base learning rate at a 0-based step.

    Warm-up runs linearly from `warmup_ratio`. The polynomial counts from step 0, so the rate drops a little
    where warm-up ends, as published.
    """
    if step < schedule.warmup_steps:
        done = step / schedule.warmup_steps
        return 1.0 - (1.0 - done) * (1.0 - schedule.warmup_ratio)
    return float((1.0 - step / schedule.steps) ** schedule.power)
