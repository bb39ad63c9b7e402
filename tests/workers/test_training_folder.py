"""The folder of a training on this machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toco.jobs.training import TrainingSet
from toco.model.photos.classes import VOC, Vocabulary
from toco.workers.training_folder import mask_values, work_folder

HOLDS = """
import sys
from pathlib import Path
from pathlib import Path
from toco.jobs.settings import load_settings
from toco.workers.training_folder import work_folder

with work_folder(load_settings(data_dir=Path(sys.argv[1]), _env_file=None), "theirs") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(settings):
    """Another worker of this machine, in a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(settings.data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.slow
def test_a_folder_goes_with_its_training_and_those_of_dead_workers_with_the_next(settings, other):
    theirs = Path(other.stdout.readline().strip())
    with work_folder(settings, "mine") as folder:
        (folder / "checkpoint.pt").write_bytes(b"x")
        assert theirs.is_dir(), "its worker lives"
    assert not folder.exists()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert theirs.is_dir()
    with work_folder(settings, "mine"):
        assert not theirs.is_dir()


def test_a_folder_goes_also_when_something_goes_wrong(settings):
    with pytest.raises(ZeroDivisionError), work_folder(settings, "mine") as folder:
        raise ZeroDivisionError
    assert not folder.exists()


def test_masks_of_the_job_are_read_in_the_classes_of_the_training():
    voc = {name: VOC.classes[VOC.channel(name)].index for name in ("cat", "dog", "sofa")}
    listed = TrainingSet(photos=(), mask_values={voc["cat"]: "cat", voc["dog"]: "dog", voc["sofa"]: "sofa"})
    values = mask_values(listed, Vocabulary.of_names(("dog", "cat")))
    mask = np.array([0, voc["dog"], voc["cat"], voc["sofa"], 255], np.uint8)
    assert values[mask].tolist() == [0, 1, 2, 0, 255], (
        "what is none of the classes is background, what is open stays so"
    )
