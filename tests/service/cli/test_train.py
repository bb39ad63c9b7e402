"""`toco train` as a process that is told to stop, killed and started again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from toco.model.spec import read_spec

STEPS = 60
SETTINGS = {
    "backbone.frozen_blocks": 0,
    "backbone.image_size": 64,
    "schedule.warmup_steps": 1,
    "schedule.batch_size": 2,
    "augmentation.crop": 64,
    "contrast.local_size": 32,
    "contrast.border": 16,
    "contrast.hidden": 16,
    "contrast.bottleneck": 8,
    "contrast.outputs": 8,
}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(photos: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a run in a folder, in a process group of its own; its events come line by line."""
    (tmp_path / "tags.csv").write_text("a.jpg,cat\nb.png,dog;person\n")
    running = []

    def begin(out: str, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "toco", "train", "--preset", "small-cpu", "--backbone", "test_vit"]
        command += ["--initial", "random", "--images", str(photos), "--tags", str(tmp_path / "tags.csv")]
        command += ["--classes", "cat,dog,person", "--steps", str(STEPS), "--device", "cpu", "--events"]
        command += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
        with (tmp_path / f"{out}.log").open("a") as log:
            process = subprocess.Popen(
                [*command, "--out", str(tmp_path / out), *more],
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def steps_of(process: "subprocess.Popen[str]") -> Iterator[int]:
    for line in process.stdout:
        yield json.loads(line)["step"]


def until(process: "subprocess.Popen[str]", step: int) -> None:
    assert next(number for number in steps_of(process) if number >= step) == step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["TERM", "INT", "KILL"],
)
def test_a_run_that_is_ended_anywhere_comes_to_the_same_model(how, code, start, tmp_path):
    whole = start("whole", "--name", "mugs")
    assert list(steps_of(whole)) == list(range(1, STEPS + 1))
    assert whole.wait() == 0

    kept = ("--set", "checkpoint_minutes=0.0001") if how == signal.SIGKILL else ()  # a checkpoint after each step
    first = start("ended", "--name", "mugs", *kept)
    until(first, 7)
    os.killpg(first.pid, how)
    last = max(steps_of(first), default=7)
    assert first.wait() == code
    assert last < STEPS

    second = start("ended", "--name", "mugs")
    went_on = list(steps_of(second))
    assert second.wait() == 0
    # Told to stop, it loses no step. Killed, it may lose the one whose checkpoint was not whole.
    assert went_on[0] in ({last + 1} if how != signal.SIGKILL else {last, last + 1})
    assert went_on[-1] == STEPS
    one, other = (load_file(tmp_path / out / "model" / "weights.safetensors") for out in ("whole", "ended"))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    # Its version follows from its weights, so that both are the same model.
    assert read_spec(tmp_path / "whole" / "model").version == read_spec(tmp_path / "ended" / "model").version
    assert read_spec(tmp_path / "ended" / "model").name == "mugs"
    logged = [json.loads(line)["step"] for line in (tmp_path / "ended" / "losses.jsonl").read_text().splitlines()]
    assert logged == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_loader_processes_leave_it_to_the_run_to_stop(start, tmp_path):
    """A scheduler signals the whole group; the step in hand still gets its photos."""
    process = start("loaders", "--set", "workers=1", "--set", "schedule.accumulate=4")
    until(process, 3)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == 143
    assert "start it again" in (tmp_path / "loaders.log").read_text().lower()
    assert (tmp_path / "loaders" / "checkpoint.pt").exists()


def test_without_a_name_the_model_is_called_as_its_folder(toco, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    arguments = ["--preset", "small-cpu", "--backbone", "test_vit", "--initial", "random", "--images", photos]
    (tmp_path / "tags.csv").write_text("a.jpg,cat\nb.png,dog\n")
    arguments += ["--tags", tmp_path / "tags.csv", "--classes", "cat,dog", "--steps", 1, "--device", "cpu"]
    arguments += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    assert toco("train", "--out", tmp_path / "mugs", *arguments).exit_code == 0
    assert read_spec(tmp_path / "mugs" / "model").name == "mugs"


def test_a_name_that_is_none_is_refused_before_any_work(toco, photos, tmp_path):
    result = toco("train", "--out", tmp_path / "run", "--images", photos, "--name", "my/model")
    assert result.exit_code == 2
    assert "'my/model'" in result.output
    assert not (tmp_path / "run").exists()
