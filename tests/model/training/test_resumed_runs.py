"""A run that was stopped resumes bit for bit, or says why not."""

from pathlib import Path

import pytest
import torch

from tests.model.training.run_contents import CLASSIFICATION, VOC4, changed, log, weights
from toco.model.training.config import SourceConfig
from toco.model.training.data import training_photos
from toco.model.training.run_checkpoint import CHECKPOINT_FILE, CannotResume
from toco.model.training.trainer import LOG_FILE, Trainer

pytestmark = pytest.mark.slow


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
