"""One model of several: the average of their weights.

Models that were trained one after the other from the same start, on labels and compositions that differ, err in
different places; their average labels better than any of them, at the cost of one.

References:
    Wortsman et al., "Model soups" (ICML 2022).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from toco.model.errors import InvalidOption
from toco.model.weights_io.checkpoint import load_model, save_model


def average_models(models: Sequence[Path], folder: Path) -> None:
    """Write the average of models of one shape; what is not weights (classes, thresholds) is the last one's.

    Args:
        models: their folders, at least one.
        folder: of the average; made if need be.

    Raises:
        InvalidOption: no models are given, or they are of different shapes.
    """
    if not models:
        raise InvalidOption("The average of no models.", fix="Name one at least.")
    network, spec = load_model(models[-1])
    weights = network.state_dict()
    for model in models[:-1]:
        other = load_model(model)[0].state_dict()
        if {name: value.shape for name, value in other.items()} != {name: v.shape for name, v in weights.items()}:
            raise InvalidOption(
                f"{str(model)!r} has other weights than {str(models[-1])!r}.",
                fix="Average models of one backbone and one list of classes.",
            )
        for name, value in other.items():
            if value.is_floating_point():
                weights[name] += value
    with torch.no_grad():
        for value in weights.values():
            if value.is_floating_point():
                value.div_(len(models))
    save_model(folder, network, spec)
