"""The training loop: it learns, it resumes bit for bit, it stops on NaN, and it shares its work."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from toco.model.method.network import ToCoNetwork, normalise_images
from toco.model.photos.classes import VOC
from toco.model.training.config import SourceConfig
from toco.model.training.data import TaggedPhotos, training_photos, vocabulary_of
from toco.model.training.initial_weights import InitialWeightsError
from toco.model.training.run_checkpoint import CHECKPOINT_FILE, CannotResume
from toco.model.training.schedule import learning_rate_factor
from toco.model.training.trainer import LOG_FILE, LossNotFinite, Trainer, initial_spec
from toco.model.weights_io.checkpoint import load_model

VOC4 = VOC.subset(("cat", "dog", "horse", "person"))
# The classification losses alone: what several processes or half batches must agree on, photo by photo.
CLASSIFICATION = {"ptc": 0.0, "ctc": 0.0, "segmentation": 0.0, "energy": 0.0}


@pytest.fixture
def trainer_of(tiny_config, tmp_path):
    def make(out="run", report=lambda _: None, **changes) -> Trainer:
        config = tiny_config(**changes)
        photos = training_photos(config, vocabulary_of(config))
        return Trainer(config, photos, tmp_path / out, device="cpu", report=report)

    return make


def log(trainer):
    return [json.loads(line) for line in (trainer.out / LOG_FILE).read_text().splitlines()]


def weights(trainer):
    return {name: value.clone() for name, value in trainer.trainee.state_dict().items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


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


# It resumes


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"energy": 0.05}},
        {"precision": "bfloat16", "cached_crops": 2, "cache_side": 80, "schedule": {"accumulate": 2}},
    ],
    ids=["paper", "cached"],
)
def test_a_resumed_run_is_bit_equal_to_one_that_never_stopped(changes, trainer_of):
    whole = trainer_of("whole", **changes)
    whole.run(until=6)
    trainer_of("parts", **changes).run(until=3)
    torch.rand(17)  # whatever else drew random numbers meanwhile
    resumed = trainer_of("parts", **changes)
    assert resumed.step == 3
    resumed.run(until=6)
    assert changed(weights(whole), weights(resumed)) == set()
    for one, other in zip(
        whole.optimizer.state_dict()["state"].values(), resumed.optimizer.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert log(whole) == log(resumed)
    assert [row["step"] for row in log(resumed)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_to_go_on_from(trainer_of):
    stopped = trainer_of()
    stopped.run(stop=lambda: stopped.step == 4)
    again = trainer_of()
    assert again.step == 4
    again.run()
    assert again.step == 12


def test_a_finished_run_stays_finished(trainer_of):
    trainer_of(schedule={"steps": 2}).run()
    again = trainer_of(schedule={"steps": 2})
    before = weights(again)
    again.run()
    assert again.step == 2
    assert changed(before, weights(again)) == set()


def test_the_time_of_training_adds_up_over_resumptions(trainer_of):
    first = trainer_of()
    first.run(until=2)
    second = trainer_of()
    assert second.seconds == first.seconds > 0
    second.run(until=3)
    assert second.seconds > first.seconds


def test_another_configuration_cannot_resume(trainer_of):
    trainer_of(schedule={"steps": 1}).run()
    with pytest.raises(CannotResume, match="another configuration") as caught:
        trainer_of(schedule={"steps": 1}, seed=1)
    assert "another output folder" in caught.value.fix


def test_a_run_resumes_under_another_name_and_with_other_intervals(trainer_of):
    trainer_of(schedule={"steps": 1}, name="one").run()
    again = trainer_of(schedule={"steps": 1}, name="other", checkpoint_minutes=1.0, evaluate_every=7)
    assert again.step == 1
    assert again.spec.name == "other"


def test_other_photos_or_tags_cannot_resume(trainer_of, eight_photos, tmp_path):
    trainer_of(schedule={"steps": 1}).run()
    table = (eight_photos / "tags.csv").read_text()
    other = tmp_path / "other.csv"
    sources = ({"images": eight_photos / "photos", "tags": other},)
    for changed_table in (table.replace("cat.png,cat", "cat.png,dog"), table.replace("dog.png,dog\n", "")):
        other.write_text(changed_table)
        config = trainer_of("elsewhere", schedule={"steps": 1}).config
        photos = training_photos(config.model_copy(update={"sources": (SourceConfig(**sources[0]),)}), VOC4)
        with pytest.raises(CannotResume, match="other photos or tags"):
            Trainer(config, photos, tmp_path / "run", device="cpu")


def test_steps_after_the_last_checkpoint_leave_the_log_when_they_are_made_again(trainer_of):
    whole = trainer_of("whole")
    whole.run(until=5)
    lost = trainer_of("lost")
    lost.run(until=3)
    with (lost.out / LOG_FILE).open("a") as file:  # killed two steps later, in the middle of a line
        file.write('{"step": 4, "rate": 1.0, "cls": 1.0}\n{"step": 5, "ra')
    again = trainer_of("lost")
    again.run(until=5)
    assert log(again) == log(whole)


def test_a_model_without_a_name_has_that_of_its_folder(trainer_of):
    assert trainer_of("mugs", schedule={"steps": 1}).spec.name == "mugs"


def test_checkpoints_are_made_while_training_and_never_half(trainer_of, monkeypatch):
    made = []
    monkeypatch.setattr(Trainer, "save", lambda self: made.append(self.step))
    trainer_of(schedule={"steps": 3}, loss=CLASSIFICATION, checkpoint_minutes=1e-9).run()
    assert made == [1, 2, 3, 3]
    monkeypatch.undo()
    trainer = trainer_of(loss=CLASSIFICATION)
    trainer.save()
    before = (trainer.out / CHECKPOINT_FILE).read_bytes()

    def full_disk(_state, path):
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        trainer.save()
    assert (trainer.out / CHECKPOINT_FILE).read_bytes() == before


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


# Many processes

DISTRIBUTED = """
import sys
from pathlib import Path
import torch
from toco.model.training.config import TrainConfig
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.trainer import Trainer

torch.set_num_threads(1)
folder = Path(sys.argv[1])
config = TrainConfig.model_validate_json((folder / "config.json").read_text())
trainer = Trainer(config, training_photos(config, vocabulary_of(config)), folder / "shared", device="cpu")
assert trainer.world == 2
trainer.run(until=3)
torch.save(trainer.network.state_dict(), folder / f"rank{trainer.rank}.pth")
"""


@pytest.mark.slow
def test_two_processes_train_what_one_would(trainer_of, tiny_config, tmp_path):
    """Each of two processes takes half of the photos; the averaged gradients are those of the whole batch."""
    config = tiny_config(loss=CLASSIFICATION, schedule={"batch_size": 2})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    (tmp_path / "train.py").write_text(DISTRIBUTED)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(tmp_path / "train.py"), str(tmp_path)],
        check=True, timeout=300, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    alone = trainer_of("alone", loss=CLASSIFICATION, schedule={"batch_size": 4})
    alone.run(until=3)
    ranks = [torch.load(tmp_path / f"rank{rank}.pth", weights_only=True) for rank in range(2)]
    for name, value in alone.network.state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        assert float((ranks[0][name] - value).abs().max()) < 1e-4, name
    rows = [json.loads(line) for line in (tmp_path / "shared" / LOG_FILE).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]  # the first process alone writes


def test_processes_take_their_gpu(monkeypatch, trainer_of):
    from toco.model.training import trainer as module

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [module._local_device(name) for name in ("auto", "cuda", "cpu", "cuda:1")] == [
        "cuda:3", "cuda:3", "cpu", "cuda:1",
    ]  # fmt: skip


def test_each_process_draws_its_own_places_for_local_crops(trainer_of, monkeypatch):
    drawn = []
    trainer = trainer_of(loss=CLASSIFICATION, schedule={"accumulate": 2})
    forward = trainer.trainee.forward

    def watch(batch, progress, rng):
        drawn.append(rng.integers(1 << 30))
        return forward(batch, progress, rng)

    monkeypatch.setattr(trainer.trainee, "forward", watch)
    trainer.run(until=2)
    trainer.rank = 1
    trainer.run(until=3)
    assert len(drawn) == 6
    assert all(one != other for one, other in itertools.combinations(drawn, 2))


def test_what_a_saliency_cue_taught_the_decoder_reaches_the_labels(tiny_config):
    assert initial_spec(tiny_config()).decoder_weight == 0.0
    assert initial_spec(tiny_config(saliency={"network": "focus.onnx"})).decoder_weight == 0.3


# Soft labels, models to start from, and the average of the weights


@pytest.mark.slow
def test_a_run_on_soft_labels_learns_them_and_resumes_bit_for_bit(trainer_of, soft_folder):
    changes = {
        "soft_labels": {"folder": soft_folder},
        "loss": {"ctc": 0.0, "segmentation": 1.0},
        "schedule": {"steps": 24, "learning_rate": 3e-3, "average": 0.8},
    }
    whole = trainer_of("whole", **changes)
    whole.run()
    first = trainer_of("parts", **changes)
    first.run(until=9)
    second = trainer_of("parts", **changes)
    second.run()
    assert not changed(weights(whole), weights(second))
    losses = [row["seg"] for row in log(whole)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_photos_without_soft_labels_are_left_out(trainer_of, soft_folder):
    index = soft_folder / "soft_labels.json"
    rows = json.loads(index.read_text())
    names = list(rows)
    index.write_text(json.dumps({name: rows[name] for name in names[:-1]}))
    maps = soft_folder / "soft_labels.npy"
    np.save(maps, np.load(maps)[: rows[names[-1]][0]])
    trainer = trainer_of(soft_labels={"folder": soft_folder}, loss={"ctc": 0.0})
    assert sorted(str(photo.path) for photo in trainer.photos) == sorted(names[:-1])


def test_the_model_is_the_average_of_the_last_weights(trainer_of, close):
    trainer = trainer_of(schedule={"average": 0.5})
    history = []
    original = trainer._one_step

    def noted(*arguments):
        losses = original(*arguments)
        history.append(trainer.network.classifier.weight.detach().clone())
        return losses

    trainer._one_step = noted
    start = trainer.network.classifier.weight.detach().clone()
    trainer.run(until=3)
    expected = start
    for step, value in enumerate(history):
        momentum = min(0.5, (step + 1) / (step + 10))
        expected = momentum * expected + (1 - momentum) * value
    close(trainer.average.classifier.weight, expected)
    network, _ = load_model(trainer.model_folder)
    close(network.classifier.weight, expected)


def test_a_run_may_start_from_a_model_with_fewer_classes(trainer_of):
    small = trainer_of("small", classes=("dog", "person"))
    small.run(until=2)
    large = trainer_of("large", backbone={"initial": str(small.model_folder)})
    theirs, ours = small.average, large.network
    assert torch.equal(ours.encoder.vit.blocks[0].attn.qkv.weight, theirs.encoder.vit.blocks[0].attn.qkv.weight)
    assert torch.equal(ours.classifier.weight[[1, 3]], theirs.classifier.weight)
    assert torch.equal(ours.decoder.conv8.weight[[0, 2, 4]], theirs.decoder.conv8.weight)
    assert float(ours.classifier.weight.detach()[[0, 2]].abs().max()) == 0.0


def test_a_model_of_another_backbone_is_refused(trainer_of):
    small = trainer_of("small")
    small.run(until=1)
    with pytest.raises(InitialWeightsError, match="backbone"):
        trainer_of("other", backbone={"initial": str(small.model_folder), "image_size": 32})
