"""A kind of fault, the list that they are put on, and what several of them do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psutil

from tests.faults.scene import SETTINGS, Scene
from tests.service.live import until
from toco.service.one_machine.supervisor import Program

PATIENCE: Final = float(SETTINGS["TOCO_BROKER_PATIENCE_SECONDS"])
LEASE: Final = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        part: what is struck.
        name: how, in a few words.
        strike: begins a job, does harm and ends it. Returns how many answers were wrong.
    """

    part: str
    name: str
    strike: Callable[[Scene], int]


FAULTS: Final[list[Fault]] = []


def fault(part: str, name: str) -> Callable[[Callable[[Scene], int | None]], None]:
    """Put a function on the list."""

    def listed(strike: Callable[[Scene], int | None]) -> None:
        FAULTS.append(Fault(part, name, lambda scene: strike(scene) or 0))

    return listed


def restart(program: Program) -> None:
    """Start a program again as a supervisor would."""
    program.stop()
    program.start()


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """Have a process hang."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def other_child(scene: Scene, child: psutil.Process) -> psutil.Process:
    """Wait for the child that takes a dead one's place."""
    return until(lambda: next((one for one in scene.live.parent().children() if one.pid != child.pid), None), 60)
