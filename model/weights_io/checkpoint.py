"""Model folders: safetensors weights beside their spec. Loading is strict, checks the hash and never unpickles."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from toco.model.method.network import ToCoNetwork
from toco.model.spec import SPEC_FILE, WEIGHTS_FILE, InvalidCheckpoint, ModelSpec, read_spec
from toco.model.weights_io.weight_file import checked_weights


def save_model(folder: Path, network: ToCoNetwork, spec: ModelSpec, *, half: bool = False) -> ModelSpec:
    """Write a model folder.

    Args:
        folder: made if need be; its weights and spec are replaced.
        network: the weights.
        spec: its `weights_sha256` is filled in.
        half: store float16 (half the size); loading always gives float32.

    Returns:
        The spec as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    data = save(state)
    written = spec.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    # A half-written file must never stand under its own name: runs are stopped at any moment.
    for name, content in ((WEIGHTS_FILE, data), (SPEC_FILE, f"{written.model_dump_json(indent=2)}\n".encode())):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return written


def load_model(folder: Path) -> tuple[ToCoNetwork, ModelSpec]:
    """Read a model folder strictly.

    Returns:
        The network in evaluation mode, float32, on the CPU; and its spec.

    Raises:
        InvalidCheckpoint: missing parts, a wrong hash, or tensors that do not fit the spec.
    """
    spec = read_spec(folder)
    state = read_weights(folder, spec)
    network = ToCoNetwork.from_spec(spec)
    fit_state(network, state, str(folder / WEIGHTS_FILE))
    return network.eval(), spec


def read_weights(folder: Path, spec: ModelSpec) -> dict[str, Tensor]:
    """Read the weights of a model folder as they are stored.

    Raises:
        InvalidCheckpoint: they are missing, not what the spec says, or no safetensors.
    """
    data = checked_weights(folder, spec)
    try:
        return load(data)
    except SafetensorError as error:
        raise InvalidCheckpoint(
            f"{str(folder / WEIGHTS_FILE)!r} is not safetensors: {error}.", fix="Fetch or train it again."
        ) from None


def fit_state(network: ToCoNetwork, state: dict[str, Tensor], source: str) -> None:
    """Load a state dict as float32, or say in one sentence what does not fit.

    Raises:
        InvalidCheckpoint: a missing, left-over or wrongly shaped tensor.
    """
    wanted = network.state_dict()
    for name in (*sorted(wanted.keys() - state.keys())[:1],):
        raise InvalidCheckpoint(f"{source!r} misses tensor {name!r}.", fix="Check backbone and number of classes.")
    for name in (*sorted(state.keys() - wanted.keys())[:1],):
        raise InvalidCheckpoint(f"{source!r} has a tensor {name!r} too many.", fix="Check backbone and file.")
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            raise InvalidCheckpoint(
                f"{source!r} has {name!r} of shape {tuple(state[name].shape)}, not {tuple(value.shape)}.",
                fix="Check backbone, image size and number of classes.",
            )
    network.load_state_dict({name: value.to(torch.float32) for name, value in state.items()}, strict=True)
