"""Progress where the output is no terminal."""

import io

from toco.service.cli.progress_lines import LINE_SECONDS, ProgressLines
from toco.service.cli.training_progress import TrainingProgress


def test_a_line_at_the_beginning_one_now_and_then_and_one_at_the_end():
    now = [0.0]
    out = io.StringIO()
    lines = ProgressLines("Labelling", 40, stream=out, clock=lambda: now[0])
    assert out.getvalue() == "Labelling 0/40\n"
    for done in range(1, 41):
        now[0] += LINE_SECONDS / 5
        lines.show(done)
    shown = out.getvalue().splitlines()
    assert shown[1] == "Labelling 5/40, 0:00:10, 0:01:10 left"
    assert shown[-1] == "Labelling 40/40, 0:01:20, 0:00:00 left"
    assert len(shown) == 1 + 8


def test_a_resumed_run_is_not_taken_for_a_quick_one():
    now = [0.0]
    out = io.StringIO()
    lines = ProgressLines("training", 1000, stream=out, clock=lambda: now[0])
    for done in range(901, 911):
        now[0] += 1.0
        lines.show(done)
    assert out.getvalue().splitlines()[-1] == "training 910/1000, 0:00:10, 0:01:30 left"


def test_training_tells_step_losses_and_time_left(capsys):
    with TrainingProgress(3) as progress:
        for step in (1, 2, 3):
            progress(step, {"cls": 0.25, "seg": 1.5}, 6e-5, 2.0 * (3 - step))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "training 0/3"
    assert "3/3" in told[-1]
    assert "cls 0.250  seg 1.500  lr 6.0e-05" in told[-1]
