"""Threads of the processor: as many as the process may keep busy, and none of them spins while it waits."""

import os
import subprocess
import sys

import pytest

from toco.model.threads import cores, processor_quota, share_the_processor, threads


@pytest.fixture
def groups(tmp_path):
    """Write control groups as the kernel shows them: `own` says where the process is, other files are limits."""

    def written(own, **limits):
        (tmp_path / "own").write_text(own, "utf-8")
        for path, text in limits.items():
            file = tmp_path / "groups" / path.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        return tmp_path / "groups", tmp_path / "own"

    return written


def test_without_control_groups_nothing_is_said(tmp_path):
    assert processor_quota(tmp_path / "none", tmp_path / "neither") is None


@pytest.mark.parametrize(("said", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("odd\n", None)])
def test_the_quota_of_a_container(said, quota, groups):
    assert processor_quota(*groups("0::/\n", cpu_max=said)) == quota


def test_the_tightest_limit_of_all_parents_holds(groups):
    places = groups("0::/pod/box\n", pod__cpu_max="50000 100000\n", pod__box__cpu_max="400000 100000\n")
    assert processor_quota(*places) == 0.5


def test_the_first_version_of_control_groups(groups):
    name = "cpu,cpuacct"
    limits = {f"{name}__box__cpu_cfs_quota_us": "300000\n", f"{name}__box__cpu_cfs_period_us": "100000\n"}
    places = groups(f"5:memory:/elsewhere\n4:{name}:/box\n", **limits)
    assert processor_quota(*places) == 3.0


def test_no_limit_in_the_first_version(groups):
    limits = {"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}
    assert processor_quota(*groups("4:cpu:/\n", **limits)) is None


@pytest.mark.parametrize(("quota", "expected"), [("50000", 1), ("190000", 1), ("200000", 2), ("900000", 3)])
def test_whole_cores_of_the_quota_but_one_at_least_and_no_more_than_the_process_is_bound_to(
    quota, expected, groups, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert cores(*groups("0::/\n", cpu_max=f"{quota} 100000\n")) == expected


def test_what_the_environment_says_stays():
    environment = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active"}
    share_the_processor(environment)
    assert environment == {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active", "KMP_BLOCKTIME": "0"}


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None)])
def test_the_number_of_threads_is_what_the_environment_says_or_a_thread_a_core(said, expected):
    assert threads({"OMP_NUM_THREADS": said}) == (expected or cores())


SPINNING = """
import sys, time
from toco.model.threads import share_the_processor
if sys.argv[1] == "shared":
    share_the_processor()
import torch
torch.set_num_threads(2)
tokens = torch.zeros(400, 400)
started, spent = time.perf_counter(), time.process_time()
for _ in range(40):
    tokens @ tokens  # wakes the second thread, which then waits
    torch.relu(tokens)
    time.sleep(0.004)
print((time.process_time() - spent) / (time.perf_counter() - started))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_a_thread_that_waits_takes_no_processor_time():
    """Between its turns, a second thread of torch spins by default for milliseconds: that is others' time."""
    free = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    spent = {
        way: float(
            subprocess.run(
                [sys.executable, "-c", SPINNING, way], check=True, capture_output=True, text=True, env=free
            ).stdout
        )
        for way in ("shared", "spinning")
    }
    assert spent["shared"] < spent["spinning"]
