"""What workers say of themselves, and what their silence says."""

import pytest

from toco.jobs.stats import Stats, WorkerReport, silent_workers


def worker(name: str, answered_at: float) -> WorkerReport:
    return WorkerReport(name, ["batch"], [], "cpu", answered_at=answered_at)


@pytest.mark.parametrize(
    ("answered", "silent"),
    [
        ([95.0], []),
        ([80.0], ["0"]),
        # Two share the messages that have to be answered: each may take twice as long.
        ([99.0, 85.0], []),
        ([99.0, 79.0], ["1"]),
        ([], []),
    ],
)
def test_a_worker_that_answers_no_message_is_silent(answered, silent):
    workers = [worker(str(number), moment) for number, moment in enumerate(answered)]
    assert silent_workers(workers, now=100.0, patience_seconds=10.0) == silent


def test_a_report_counts_for_a_time_and_is_gone_when_its_worker_retires(records):
    stats = Stats(records)
    stats.report(worker("a", 5.0), valid_seconds=60)
    stats.report(worker("late", 5.0), valid_seconds=-1)
    assert [(report.name, report.answered_at) for report in stats.live_workers()] == [("a", 5.0)]
    stats.retire("a")
    assert stats.live_workers() == []
