"""`toco bench`: the benchmarks of the repository, by name."""

import runpy
import sys
from importlib.util import find_spec
from typing import Literal

import typer

from toco.model.errors import TocoError


class BenchmarkMissing(TocoError):
    """The benchmarks, or a package that they compare with, are not installed."""

    code = "benchmark_missing"
    kind = "unavailable"


def bench(context: typer.Context, name: Literal["crf", "label", "service"]) -> None:
    """Measure the CRF, labelling or the service: `toco bench crf --json FILE`; `toco bench NAME --help` lists options.

    Each measures against a reference in the same run and prints medians, their ratio and how far results agree.
    """
    for package, what in (("benchmarks", "the benchmarks"), ("pydensecrf", "pydensecrf"), ("psutil", "psutil")):
        if find_spec(package) is None:
            raise BenchmarkMissing(
                f"{what} are not installed." if package == "benchmarks" else f"{what} is not installed.",
                fix="Run it from a checkout after `make setup`.",
            )
    sys.argv = [f"toco bench {name}", *context.args]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
