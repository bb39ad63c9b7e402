"""What learning gives: a small model of words on top of a frozen encoder, as a folder of safetensors and JSON."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from toco.model.learning.learnt_spec import (
    LEARNT_FILE,
    WORDS_FILE,
    InvalidLearntModel,
    LearntSpec,
    read_learnt_spec,
)


@dataclass(frozen=True, slots=True)
class LearntModel:
    """Words on a frozen encoder.

    Attributes:
        spec: what they are and where they come from.
        weight: (1 + C, d) float32; row 0 is background.
        bias: (1 + C,) float32.
    """

    spec: LearntSpec
    weight: Tensor
    bias: Tensor


def save_learnt_model(folder: Path, model: LearntModel) -> LearntModel:
    """Write a learnt model; the spec comes last, so that a half-written folder is none.

    Returns:
        The model with its digest filled in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = save({"weight": model.weight.contiguous(), "bias": model.bias.contiguous()})
    spec = model.spec.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    for name, content in ((WORDS_FILE, data), (LEARNT_FILE, f"{spec.model_dump_json(indent=2)}\n".encode())):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return LearntModel(spec, model.weight, model.bias)


def load_learnt_model(folder: Path) -> LearntModel:
    """Read a learnt model strictly; nothing is ever unpickled.

    Raises:
        InvalidLearntModel: missing parts, a wrong digest, or weights that do not fit the spec.
    """
    spec = read_learnt_spec(folder)
    path = folder / WORDS_FILE
    try:
        data = path.read_bytes()
        state = load(data)
    except (OSError, SafetensorError) as error:
        raise InvalidLearntModel(f"Cannot read {str(path)!r}: {error}.", fix="Copy the whole folder.") from None
    if hashlib.sha256(data).hexdigest() != spec.weights_sha256:
        raise InvalidLearntModel(f"{str(path)!r} is not the file that its spec names.", fix="Learn it again.")
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    outputs = 1 + len(spec.classes)
    if shapes != {"weight": (outputs, spec.width), "bias": (outputs,)} or len(spec.words) != len(spec.classes):
        raise InvalidLearntModel(f"{str(path)!r} holds {shapes} for {len(spec.classes)} words.", fix="Learn it again.")
    return LearntModel(spec, state["weight"].to(torch.float32), state["bias"].to(torch.float32))
