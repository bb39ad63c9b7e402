"""Initial weights of the backbone: timm's own, a local file, or an ONNX export of a Hugging Face DINOv2.

References:
    Oquab et al., DINOv2, TMLR 2024; Hugging Face `Dinov2Model` for the tensor names of the export.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from toco.model.errors import TocoError
from toco.model.method.backbone import Encoder
from toco.model.method.network import ToCoNetwork
from toco.model.photos.classes import Vocabulary
from toco.model.weights_io.checkpoint import load_model


class InitialWeightsError(TocoError):
    """Initial weights cannot be read or do not fit the backbone."""

    code = "initial_weights"
    kind = "invalid"


def load_initial_weights(encoder: Encoder, source: str) -> None:
    """Load a file of backbone weights into an encoder.

    Args:
        encoder: receives the weights; its name and image size must be those of the file.
        source: .safetensors, .pth/.pt (a state dict, read without unpickling code) or .onnx.

    Raises:
        InitialWeightsError: missing file, unknown kind, or tensors that do not fit.
    """
    path = Path(source)
    if not path.is_file():
        raise InitialWeightsError(f"No weights file {source!r}.", fix="Give a .safetensors, .pth or .onnx file.")
    wanted = encoder.vit.state_dict()
    state = {_strip(name): value for name, value in _read(path).items()}
    state = {name: value for name, value in state.items() if not name.startswith("head.")}
    missing = sorted(wanted.keys() - state.keys())
    wrong = [name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape]
    if missing or wrong:
        name = (missing or sorted(wrong))[0]
        what = "misses" if missing else f"has shape {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}, for"
        raise InitialWeightsError(
            f"{source!r} {what} {name!r}.", fix="Give the backbone's name and image size that the file was made for."
        )
    encoder.vit.load_state_dict({name: state[name] for name in wanted}, strict=True)


def load_initial_model(network: ToCoNetwork, vocabulary: Vocabulary, folder: Path) -> None:
    """Start a network from a model of the same backbone; classes that both know keep their classifiers and outputs.

    Classes that the model does not know start from zero weights: neither likely nor unlikely.

    Args:
        network: receives the weights.
        vocabulary: its classes.
        folder: of the model.

    Raises:
        InitialWeightsError: the backbones differ.
        InvalidCheckpoint: the folder is no model.
    """
    other, spec = load_model(folder)
    try:
        network.encoder.load_state_dict(other.encoder.state_dict(), strict=True)
    except RuntimeError:
        raise InitialWeightsError(
            f"{str(folder)!r} has the backbone {spec.backbone.name!r}.", fix="Name that backbone and its image size."
        ) from None
    theirs = spec.vocabulary
    pairs = [(k, theirs.channel(name)) for k, name in enumerate(vocabulary.names) if name in theirs]
    ours_at, theirs_at = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    with torch.no_grad():
        for part in ("classifier", "aux_classifier"):
            weight = getattr(network, part).weight
            weight.zero_()
            weight[ours_at] = getattr(other, part).weight[theirs_at]
        network.decoder.conv6.load_state_dict(other.decoder.conv6.state_dict())
        network.decoder.conv7.load_state_dict(other.decoder.conv7.state_dict())
        last = network.decoder.conv8.weight
        last.zero_()
        last[[0, *(k + 1 for k in ours_at)]] = other.decoder.conv8.weight[[0, *(k + 1 for k in theirs_at)]]


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".safetensors", ".pth", ".pt", ".onnx"):
        raise InitialWeightsError(f"Weights of kind {path.suffix!r}.", fix="Give a .safetensors, .pth or .onnx file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".onnx":
            return dinov2_from_onnx(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (TocoError, MemoryError, ImportError):
        raise
    except Exception as error:  # the readers raise whatever they stumble over
        raise InitialWeightsError(
            f"{str(path)!r} is damaged, or holds more than tensors ({type(error).__name__}).",
            fix="Give a plain file of weights; code in it is never run.",
        ) from error
    # Some files wrap the state dict (DeiT's as `model`).
    if isinstance(content, dict):
        content = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InitialWeightsError(f"{str(path)!r} is not a state dict.", fix="Give the state dict of a timm ViT.")
    return content


def _strip(name: str) -> str:
    return re.sub(r"^(module\.|model\.|encoder\.|backbone\.|vit\.)+", "", name)


def dinov2_from_onnx(path: Path) -> dict[str, Tensor]:
    """Read the encoder of an ONNX export of a Hugging Face DINOv2 as a timm state dict.

    Linear weights are anonymous transposed tensors in such exports; each is found through the `Add` that carries
    its named bias. The position embedding is the only anonymous (1, grid, grid, d) or (1, n, d) constant.

    Raises:
        InitialWeightsError: the file is not such an export.
    """
    return _timm_names(onnx_tensors(path), path)


def onnx_tensors(path: Path) -> dict[str, Tensor]:
    """Read the weights of an ONNX file by name; those of linear layers are named after their biases."""
    import onnx  # noqa: PLC0415 - only this importer needs it
    from onnx import numpy_helper  # noqa: PLC0415 - only this importer needs it

    graph = onnx.load(str(path)).graph
    tensors = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    for node in graph.node:
        # Matrix products name their anonymous weight; the bias is added right after.
        if node.op_type == "Add":
            bias = next((name for name in node.input if name.endswith(".bias") and name in tensors), None)
            product = next((name for name in node.input if name != bias), None)
            source = next((other for other in graph.node if product in other.output), None)
            if bias and source is not None and source.op_type == "MatMul":
                weight = next((name for name in source.input if name in tensors), None)
                if weight is not None:
                    tensors[bias.removesuffix("bias") + "weight"] = tensors[weight].T.contiguous()
    return tensors


_LAYER = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attention.output.dense.weight": "attn.proj.weight",
    "attention.output.dense.bias": "attn.proj.bias",
    "layer_scale1.lambda1": "ls1.gamma",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.weight": "mlp.fc1.weight",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.weight": "mlp.fc2.weight",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "layer_scale2.lambda1": "ls2.gamma",
}


def _find(tensors: dict[str, Tensor], suffix: str, path: Path) -> Tensor:
    for name, value in tensors.items():
        if name.endswith(suffix):
            return value
    raise InitialWeightsError(
        f"{str(path)!r} has no tensor ending in {suffix!r}.",
        fix="Give an ONNX export of a Hugging Face DINOv2 encoder.",
    )


def _timm_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    layers = {int(found[1]) for name in tensors if (found := re.search(r"encoder\.layer\.(\d+)\.norm1\.weight", name))}
    for layer in sorted(layers):
        prefix = f"encoder.layer.{layer}."
        for theirs, ours in _LAYER.items():
            state[f"blocks.{layer}.{ours}"] = _find(tensors, prefix + theirs, path)
        for kind in ("weight", "bias"):
            attention = f"{prefix}attention.attention."
            parts = [_find(tensors, f"{attention}{name}.{kind}", path) for name in ("query", "key", "value")]
            state[f"blocks.{layer}.attn.qkv.{kind}"] = torch.cat(parts)
    state["patch_embed.proj.weight"] = _find(tensors, "patch_embeddings.projection.weight", path)
    state["patch_embed.proj.bias"] = _find(tensors, "patch_embeddings.projection.bias", path)
    width = state["patch_embed.proj.bias"].numel()
    state["norm.weight"] = _find(tensors, "layernorm.weight", path)
    state["norm.bias"] = _find(tensors, "layernorm.bias", path)
    state["cls_token"] = _find(tensors, "embeddings.cls_token", path)
    state["pos_embed"] = _position_embedding(tensors, width, path)
    return state


def _position_embedding(tensors: dict[str, Tensor], width: int, path: Path) -> Tensor:
    """Join the class position (one row) and the patch positions (a square grid) that the export split."""
    anonymous = [value for name, value in tensors.items() if name.startswith("onnx::")]
    rows = [value.reshape(-1, width) for value in anonymous if value.shape[-1] == width and value.shape[0] == 1]
    grids = [value for value in rows if value.shape[0] > 1 and int(value.shape[0] ** 0.5) ** 2 == value.shape[0]]
    single = [value for value in rows if value.shape[0] == 1]
    if len(grids) != 1 or len(single) != 1:
        raise InitialWeightsError(
            f"{str(path)!r} has {len(grids)} position grids and {len(single)} class positions.",
            fix="Give an ONNX export of a Hugging Face DINOv2 encoder.",
        )
    return torch.cat([single[0], grids[0]])[None]
