"""A process that labels comes up fast, and goes at once with all that it wrote."""

import subprocess
import sys
import textwrap

import pytest


def run(program, **options):
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def test_garbage_is_looked_for_less_often_and_threads_yield():
    found = run(
        """
        import gc, os
        from toco.model.starting import OBJECTS_BETWEEN_LOOKS, start_process
        start_process()
        print(gc.get_threshold()[0] == OBJECTS_BETWEEN_LOOKS, os.environ["OMP_WAIT_POLICY"])
        """
    )
    assert found.stdout.split() == ["True", "passive"]


@pytest.mark.parametrize("code", [0, 3])
def test_an_ended_process_wrote_all_and_took_nothing_apart(code):
    found = run(
        f"""
        import atexit, sys
        from toco.model.starting import end_process

        class Large:
            def __del__(self):
                print("taken apart")

        kept = Large()
        atexit.register(print, "asked for")
        sys.stdout.write("written, ")
        end_process({code})
        """
    )
    assert (found.returncode, found.stdout) == (code, "written, asked for\n")


def test_a_thread_that_still_works_is_waited_for():
    found = run(
        """
        import threading, time
        from toco.model.starting import end_process

        def work():
            time.sleep(0.5)
            print("done")

        threading.Thread(target=work).start()
        end_process(1)
        """
    )
    assert (found.returncode, found.stdout) == (1, "done\n")
