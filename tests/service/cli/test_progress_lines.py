"""Progress where the output is no terminal."""

import io

from toco.model.training.progress import RunProgress
from toco.service.cli import progress_lines
from toco.service.cli.progress_lines import LINE_SECONDS, ProgressLines
from toco.service.cli.training_progress import TrainingProgress


def lines_of(total: int, seconds: float) -> list[str]:
    now = [0.0]
    out = io.StringIO()
    lines = ProgressLines("Labelling", total, stream=out, clock=lambda: now[0])
    for done in range(1, total + 1):
        now[0] += seconds
        lines.show(done)
    return out.getvalue().splitlines()


def test_a_line_now_and_then_and_one_at_the_end():
    shown = lines_of(42, LINE_SECONDS / 5)
    assert shown[0] == "Labelling 5/42, 0:00:10, 0:01:14 left"
    assert shown[-1] == "Labelling 42/42, 0:01:24, 0:00:00 left"
    assert len(shown) == 8 + 1


def test_what_is_done_at_once_needs_no_line():
    assert lines_of(4, LINE_SECONDS / 5) == []


def test_a_resumed_run_is_not_taken_for_a_quick_one():
    now = [0.0]
    out = io.StringIO()
    lines = ProgressLines("training", 1000, stream=out, clock=lambda: now[0])
    for done in range(901, 911):
        now[0] += 1.0
        lines.show(done)
    assert out.getvalue().splitlines()[-1] == "training 910/1000, 0:00:10, 0:01:30 left"


def test_training_tells_step_losses_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(progress_lines, "LINE_SECONDS", 0.0)
    with TrainingProgress(3) as progress:
        for step in (1, 2, 3):
            progress(RunProgress("training", step, 3, {"cls": 0.25, "seg": 1.5}, 6e-5, 2.0 * (3 - step)))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert told[0].startswith("training 1/3, ")
    assert told[0].endswith(", 0:00:04 left  cls 0.250  seg 1.500  lr 6.0e-05")
