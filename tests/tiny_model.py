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


def write_learnt_model(folder: Path, encoder: Path, words: tuple[str, ...], *, seed: int = 0) -> None:
    """Write a folder of learnt words on the encoder of a model folder: random weights, all said to be learnt."""
    import torch

    from toco.model.learning.learnt_model import LearntModel, save_learnt_model
    from toco.model.learning.learnt_spec import LearntSpec, WordReport, encoder_digest
    from toco.model.photos.classes import Vocabulary
    from toco.model.spec import read_spec

    spec = read_spec(encoder)
    width = spec.backbone.arguments["embed_dim"]
    report = {"photos": 9, "alone": 6, "learnt_from": 8, "standing": "learnt", "area": 0.2, "margin": 2.0}
    learnt = LearntSpec(
        name=folder.name,
        classes=Vocabulary.of_names(words).classes,
        encoder=encoder_digest(spec),
        side=spec.input_size,
        width=width,
        temperature=20.0,
        words=tuple(WordReport(word=word, recognised=0.9, **report) for word in words),
    )
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1 + len(words), width, generator=generator)
    save_learnt_model(folder, LearntModel(learnt, weight, torch.zeros(1 + len(words))))
