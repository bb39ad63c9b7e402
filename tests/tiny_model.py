"""A model that labels in no time, and badly."""

from pathlib import Path


def write_tiny_model(folder: Path) -> None:
    """Write a model folder: three small blocks, random weights, four classes."""
    import torch

    from toco.model.method.network import ToCoNetwork
    from toco.model.photos.classes import VOC
    from toco.model.spec import BackboneSpec, ModelSpec
    from toco.model.weights_io.checkpoint import save_model

    arguments = {"embed_dim": 32, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}
    spec = ModelSpec(
        name="tiny",
        backbone=BackboneSpec(name="vit_base_patch16_224", image_size=64, arguments=arguments),
        classes=VOC.subset(("cat", "dog", "horse", "person")).classes,
        input_size=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(folder, ToCoNetwork.from_spec(spec), spec)
