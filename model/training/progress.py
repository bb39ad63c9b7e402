"""How far a run is, as whoever shows it wants to know: a bar, lines in a file, a service."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

TRAINING = "training"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """One piece of work that has ended.

    Attributes:
        stage: what goes on: `training`, or `round 1: learning`.
        step: pieces of this stage that are done: steps of the optimizer, photos.
        of: pieces of this stage in all.
        losses: of the step by name; empty where nothing is trained.
        rate: learning rate of the step; 0 where nothing is trained.
        seconds_left: of this stage; None where nobody knows.
    """

    stage: str
    step: int
    of: int
    losses: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0
    seconds_left: float | None = None

    def line(self) -> str:
        """Return it as one line of JSON."""
        rounded = {name: round(value, 6) for name, value in self.losses.items()}
        left = None if self.seconds_left is None else round(self.seconds_left, 1)
        return json.dumps(asdict(self) | {"losses": rounded, "seconds_left": left})
