"""Nobody waits for what they did not ask for: the import, the list of commands, a command's own help."""

import os
import resource
import subprocess
import sys

import pytest

# Counting lines takes time too.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
HEAVY = {"celery", "cv2", "fastapi", "httpx", "numba", "numpy", "obstore", "redis", "torch"}
PROGRAM = """
import sys
sys.argv = ["toco", *sys.argv[1:]]
try:
    {statement}
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""


def loaded(statement, *arguments):
    """Return the top-level packages in memory after a statement in a fresh interpreter."""
    command = [sys.executable, "-c", PROGRAM.format(statement=statement), *arguments]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    return {name.partition(".")[0] for name in found.stderr.split()}


def seconds(*command):
    """Return the least processor time of a few runs: what else the machine does is not counted."""
    times = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True, env=ENVIRONMENT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.fixture(scope="module")
def bare():
    """What Python itself takes, which says how fast the machine is."""
    return seconds("-c", "pass")


def test_the_import_loads_nothing(bare):
    assert not loaded("import toco") & (HEAVY | {"typer"})
    assert seconds("-c", "import toco") < 3 * bare


@pytest.mark.slow
def test_a_name_is_loaded_when_it_is_used():
    assert {"httpx", "torch"} & loaded("from toco import Client") == {"httpx"}
    assert {"numpy", "torch"} & loaded("from toco import Labeler") == {"numpy"}  # labels are made without torch


def test_the_list_of_commands_loads_no_command(bare):
    assert not loaded("from toco.service.cli.main import main; main()", "--help") & HEAVY
    assert seconds("-m", "toco", "--help") < 15 * bare


@pytest.mark.parametrize("command", ["label", "evaluate", "train", "up"])
def test_the_help_of_a_command_loads_no_torch(command):
    assert "torch" not in loaded("from toco.service.cli.main import main; main()", command, "--help")


@pytest.mark.slow
def test_labelling_loads_no_compiler_but_leaves_it_to_others():
    program = (
        "import sys, toco.model.labelling.folder_run, toco.model.method.timm_import;"
        "assert not [name for name in sys.modules if name.startswith('torch._dynamo')];"
        "import torch; assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)) == 2"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
