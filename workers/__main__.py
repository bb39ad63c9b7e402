"""`python -m toco.workers --queues A,B [--device D]`: the worker process that `toco worker` becomes."""

import argparse
import logging
import os
import shutil
from multiprocessing.util import get_temp_dir

from toco.jobs.settings import load_settings
from toco.model.starting import start_process
from toco.workers.tasks import run_worker


def main() -> None:
    """Run a worker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m toco.workers")
    parser.add_argument("--queues", required=True, help="comma-separated, first things first")
    start_process()
    code = run_worker(load_settings(), tuple(parser.parse_args().queues.split(",")))
    # All work is handed in by now. Taking torch and its compiled kernels apart would cost seconds, for nothing.
    logging.shutdown()
    shutil.rmtree(get_temp_dir(), ignore_errors=True)  # of the pool, which removes it at an exit that is none
    os._exit(code)


if __name__ == "__main__":
    main()
