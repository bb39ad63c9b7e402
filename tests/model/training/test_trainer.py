"""The training loop: it learns, it stops on NaN, and says what is wrong."""

import pytest
import torch

from tests.model.training.run_contents import CLASSIFICATION, changed, log, weights
from toco.model.method.network import ToCoNetwork, normalise_images
from toco.model.training.data import TaggedPhotos
from toco.model.training.initial_weights import InitialWeightsError
from toco.model.training.schedule import learning_rate_factor
from toco.model.training.trainer import LossNotFinite
from toco.model.weights_io.checkpoint import load_model

# It learns


@pytest.mark.slow
def test_eight_photos_are_learnt_by_heart(trainer_of):
    """All losses on; near-zero classification loss, and the model folder says so too."""
    trainer = trainer_of(
        schedule={"steps": 100, "warmup_steps": 5, "learning_rate": 2e-3, "batch_size": 8},
        augmentation={"rescale": (0.95, 1.05)},
        cam={"scales": [1.0], "flip": False, "label_downscale": 4, "refine_downscale": 1},
        loss={"segmentation_start": 0.6},
        contrast={"extra_views": False},
        cache_side=80,
    )
    trainer.run()
    first, last = log(trainer)[0], log(trainer)[-5:]
    assert first["cls"] > 0.5
    assert max(row["cls"] for row in last) < 0.05
    assert max(row["cls_aux"] for row in last) < 0.05

    network, spec = load_model(trainer.model_folder)
    data = TaggedPhotos(trainer.photos, trainer.config)
    samples = [data[99, index] for index in range(8)]
    images = normalise_images(torch.stack([sample["image"] for sample in samples]), spec.mean, spec.std)
    with torch.no_grad():
        logits = network(images)[0].logits
    assert ((logits > 0) == torch.stack([sample["tags"] for sample in samples]).bool()).float().mean() > 0.95


# The schedule


def test_the_rate_follows_the_schedule_for_both_groups(trainer_of):
    seen = []
    trainer = trainer_of(
        schedule={"steps": 6}, loss=CLASSIFICATION, report=lambda progress: seen.append((progress.step, progress.rate))
    )
    used = []
    step = trainer.optimizer.step

    def watch(*args, **options):
        used.append([group["lr"] for group in trainer.optimizer.param_groups])
        return step(*args, **options)

    trainer.optimizer.step = watch
    trainer.run()
    factors = [learning_rate_factor(number, trainer.config.schedule) for number in range(6)]
    assert seen == [(number + 1, pytest.approx(1e-3 * factor)) for number, factor in enumerate(factors)]
    assert used == [pytest.approx([1e-3 * factor, 1e-2 * factor]) for factor in factors]
    assert [row["rate"] for row in log(trainer)] == [rate for _, rate in seen]


def test_time_left_shrinks_to_nothing(trainer_of):
    left = []
    trainer_of(
        schedule={"steps": 4}, loss=CLASSIFICATION, report=lambda progress: left.append(progress.seconds_left)
    ).run()
    assert left[0] > 0.0
    assert left[-1] == 0.0


def test_frozen_parts_stay_and_the_rest_moves(trainer_of):
    trainer = trainer_of(backbone={"frozen_blocks": 2})
    before = weights(trainer)
    trainer.run(until=3)
    moved = changed(before, weights(trainer))
    vit = "network.encoder.vit."
    frozen = (f"{vit}pos_embed", f"{vit}cls_token", f"{vit}patch_embed.", f"{vit}blocks.0.", f"{vit}blocks.1.")
    assert not any(name.startswith(frozen) for name in moved)
    assert {f"{vit}blocks.2.attn.qkv.weight", f"{vit}norm.weight", "network.classifier.weight"} <= moved
    assert "network.decoder.conv6.weight" in moved


def test_the_position_embedding_is_never_trained(trainer_of):
    trainer = trainer_of()
    before = weights(trainer)
    trainer.run(until=2)
    moved = changed(before, weights(trainer))
    assert "network.encoder.vit.pos_embed" not in moved
    assert "network.encoder.vit.cls_token" in moved
    assert not any(name.endswith("original0") for name in moved)  # the gain of the heads


def test_the_teacher_follows_the_student_at_every_step(trainer_of, close):
    trainer = trainer_of()
    heads = trainer.trainee.contrast
    average = [parameter.clone() for parameter in heads.teacher.parameters()]
    for step in range(1, 4):
        trainer.run(until=step)
        students = [parameter.detach() for parameter in heads.student.parameters()]
        average = [0.9 * old + 0.1 * new for old, new in zip(average, students, strict=True)]
        for parameter, wanted in zip(heads.teacher.parameters(), average, strict=True):
            close(parameter, wanted)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_trains_float32_weights(precision, trainer_of):
    trainer = trainer_of(precision=precision, schedule={"warmup_steps": 0})
    if precision == "float16":  # the usual first scale overflows here; the scaler would skip some steps to find its own
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    before = weights(trainer)
    trainer.run(until=2)
    assert "network.classifier.weight" in changed(before, weights(trainer))
    assert {value.dtype for value in weights(trainer).values()} == {torch.float32}
    assert all(torch.isfinite(value).all() for value in weights(trainer).values())


def test_half_batches_add_up_to_a_whole_one(trainer_of, close):
    whole = trainer_of("whole", loss=CLASSIFICATION, schedule={"batch_size": 4})
    halves = trainer_of("halves", loss=CLASSIFICATION, schedule={"batch_size": 2, "accumulate": 2})
    gradients = []
    for trainer in (whole, halves):
        trainer.run(until=1)
        gradients.append([p.grad for p in trainer.network.parameters() if p.grad is not None])  # AdamW hides their size
        trainer.run(until=3)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for (name, one), other in zip(weights(whole).items(), weights(halves).values(), strict=True):
        assert float((one - other).abs().max()) < 1e-4, name
    for one, other in zip(log(whole), log(halves), strict=True):
        assert one["cls"] == pytest.approx(other["cls"], abs=1e-4)


# It says what is wrong


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_photos(trainer_of):
    trainer = trainer_of()
    trainer.run(until=1)
    with torch.no_grad():
        trainer.network.classifier.weight[0] = float("nan")
    before = weights(trainer)
    with pytest.raises(LossNotFinite, match="cls = nan") as caught:
        trainer.run(until=3)
    assert sum(photo.path.name in caught.value.detail for photo in trainer.photos) == 4
    assert "Step 1" in caught.value.detail
    assert trainer.step == 1
    moved = {name for name in changed(before, weights(trainer)) if name != "network.classifier.weight"}
    assert moved == set()  # nothing was trained on it
    assert trainer_of().step == 1  # the last checkpoint is from before


def test_a_backbone_file_that_is_missing_is_named(trainer_of):
    with pytest.raises(InitialWeightsError, match=r"gone\.pth"):
        trainer_of(backbone={"initial": "gone.pth"})


# What it leaves behind


def test_initial_weights_are_loaded_from_a_file(trainer_of, tmp_path):
    donor = trainer_of("donor", seed=5)
    torch.save(donor.network.encoder.vit.state_dict(), tmp_path / "backbone.pth")
    trainer = trainer_of(backbone={"initial": str(tmp_path / "backbone.pth")})
    for one, other in zip(donor.network.encoder.parameters(), trainer.network.encoder.parameters(), strict=True):
        assert torch.equal(one, other)


def test_timm_is_asked_for_its_weights(trainer_of, monkeypatch):
    asked = []
    build = ToCoNetwork.from_spec
    monkeypatch.setattr(
        ToCoNetwork, "from_spec", classmethod(lambda cls, spec, *, pretrained: asked.append(pretrained) or build(spec))
    )
    trainer_of("a", backbone={"initial": "timm"})
    trainer_of("b", backbone={"initial": "random"})
    assert asked == [True, False]


def test_blocks_are_compiled_on_request(trainer_of, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append((type(self), options)))
    trainer = trainer_of(compile=True)
    assert compiled == [(type(trainer.network.encoder.vit.blocks[0]), {"dynamic": False})] * 6


def test_the_model_folder_tells_how_it_was_trained(trainer_of):
    trainer = trainer_of(name="farm", schedule={"steps": 2}, thresholds={"high": 0.6})
    trainer.run()
    network, spec = load_model(trainer.model_folder)
    assert spec.name == "farm"
    assert spec.vocabulary.names == ("cat", "dog", "horse", "person")
    assert spec.thresholds.high == 0.6
    assert (spec.provenance["steps"], spec.provenance["processes"]) == (2, 1)
    assert spec.provenance["configuration"]["schedule"]["steps"] == 2
    for one, other in zip(network.parameters(), trainer.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_evaluation_is_called_on_its_steps_and_at_the_end(trainer_of):
    asked = []

    def evaluate(step, network):
        asked.append((step, network.training))

    trainer = trainer_of(schedule={"steps": 5}, loss=CLASSIFICATION, evaluate_every=2)
    trainer.run(evaluate=evaluate)
    assert asked == [(2, False), (4, False), (5, False)]
    assert trainer.network.training
    asked.clear()
    trainer_of("end", schedule={"steps": 3}, loss=CLASSIFICATION, evaluate_every=0).run(evaluate=evaluate)
    assert [step for step, _ in asked] == [3]
