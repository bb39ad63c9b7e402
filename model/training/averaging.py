"""One model of several: the average of their weights.

Models that were trained one after the other from the same start, on labels and compositions that differ, err in
different places; their average labels better than any of them, at the cost of one.

References:
    Wortsman et al., "Model soups" (ICML 2022).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from toco.model.errors import InvalidOption
from toco.model.weights_io.checkpoint import load_model, save_model


def average_models(models: Sequence[Path], folder: Path) -> None:
    """Write the average of models of one shape and one list of classes; their other settings are the last one's.

    Args:
        models: their folders, at least one.
        folder: of the average; made if need be.

    Raises:
        InvalidOption: no models are given, or they are of different shapes or classes.
    """
    if not models:
        raise InvalidOption("The average of no models.", fix="Name one at least.")
    network, spec = load_model(models[-1])
    weights = network.state_dict()
    for model in models[:-1]:
        found, its = load_model(model)
        other = found.state_dict()
        # Of other classes, even as many, the average of their channels would mean nothing.
        if its.classes != spec.classes or _shapes(other) != _shapes(weights):
            raise InvalidOption(
                f"{str(model)!r} has other weights or classes than {str(models[-1])!r}.",
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


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
