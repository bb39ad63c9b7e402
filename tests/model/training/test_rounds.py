"""Rounds of self-training: each starts from the model of the one before, and a stop loses nothing."""

import json
from pathlib import Path

import pytest
import torch

from toco.model.errors import InvalidOption
from toco.model.spec import read_spec
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.rounds import RESULTS_FILE, make_soft_labels, rounds_table, run_rounds
from toco.model.training.run_checkpoint import CHECKPOINT_FILE
from toco.model.training.soft_labels import read_soft_labels
from toco.model.training.stopping import TrainingStopped
from toco.model.training.trainer import Trainer
from toco.model.weights_io.checkpoint import load_model

pytestmark = pytest.mark.slow

ROUNDS = {"count": 2, "side": 64, "fit": {"rounds": 2, "steps": 5, "batch": 64}}


@pytest.fixture
def start(tiny_config, tmp_path):
    """The folder of a tiny model, trained for a step."""
    config = tiny_config(schedule={"steps": 1})
    trainer = Trainer(config, training_photos(config, vocabulary_of(config)), tmp_path / "start", device="cpu")
    trainer.run()
    return trainer.model_folder


@pytest.fixture
def rounds_of(tiny_config, start, tmp_path):
    def make(
        judge=lambda folder: {"steps": len(str(folder)) * 0.0}, report=lambda _: None, stop=lambda: False, **changes
    ):
        rounds = ROUNDS | changes.pop("rounds", {})
        config = tiny_config(
            backbone={"initial": str(start)}, rounds=rounds, schedule={"steps": 2}, loss={"ctc": 0.0}, **changes
        )
        photos = training_photos(config, vocabulary_of(config))
        return run_rounds(config, photos, tmp_path / "rounds", judge=judge, device="cpu", report=report, stop=stop)

    return make


def test_each_round_starts_from_the_model_before_and_is_judged(rounds_of, start, tmp_path):
    judged = []

    def judge(folder: Path):
        judged.append(folder)
        return {"all": 0.5}

    rows = rounds_of(judge)
    runs = [tmp_path / "rounds" / f"round-{number}" / "run" / "model" for number in (1, 2)]
    assert judged == [start, *runs]
    assert [row["round"] for row in rows] == [0, 1, 2]
    started_from = [read_spec(run).provenance["configuration"]["backbone"]["initial"] for run in runs]
    assert started_from == [str(start), str(runs[0])]
    assert "| start | 50.0 |" in rounds_table(rows)
    assert json.loads((tmp_path / "rounds" / RESULTS_FILE).read_text()) == rows


def test_the_average_of_the_last_rounds_is_judged_and_kept(rounds_of, tmp_path, close):
    judged = []
    rows = rounds_of(lambda folder: judged.append(folder) or {"all": 0.5}, rounds={"averaged": 2})
    assert [row["round"] for row in rows] == [0, 1, 2, "average"]
    assert judged[-1] == tmp_path / "rounds" / "average"
    first, second, average = (load_model(folder)[0].state_dict() for folder in judged[-3:])
    changed = [name for name in first if not torch.equal(first[name], second[name])]
    assert changed
    for name in changed:
        close(average[name], (first[name] + second[name]) / 2.0)
    assert "| average | 50.0 |" in rounds_table(rows)
    rounds_of(judged.append, rounds={"averaged": 2})
    assert len(judged) == 4, "what is finished is not judged again"


def test_further_rounds_are_run_and_make_another_average(rounds_of, tmp_path, close):
    rounds_of(rounds={"count": 1, "averaged": 2})
    rows = rounds_of(rounds={"count": 2, "averaged": 2})
    assert [row["round"] for row in rows] == [0, 1, 2, "average"]
    folder = tmp_path / "rounds"
    first, second, average = (
        load_model(folder / name)[0].state_dict() for name in ("round-1/run/model", "round-2/run/model", "average")
    )
    for name in average:
        close(average[name], (first[name] + second[name]) / 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["round 1: learning", "round 1: labelling", "round 1: training", "round 2: training"])
def test_a_run_that_is_stopped_anywhere_ends_as_one_that_never_was(stage, rounds_of, tmp_path):
    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.stage == stage and progress.step > 0:
            raise Stopped

    with pytest.raises(Stopped):
        rounds_of(report=stop)
    rounds_of()
    network, _ = load_model(tmp_path / "rounds" / "round-2" / "run" / "model")
    (tmp_path / "rounds").rename(tmp_path / "stopped")
    rounds_of()
    other, _ = load_model(tmp_path / "rounds" / "round-2" / "run" / "model")
    assert all((one == two).all() for one, two in zip(network.parameters(), other.parameters(), strict=True))


def test_a_run_that_is_asked_to_stop_in_training_ends_with_a_checkpoint(rounds_of, tmp_path):
    seen = []
    with pytest.raises(TrainingStopped, match="round 1 at step 1 of 2"):
        rounds_of(report=seen.append, stop=lambda: seen[-1].stage == "round 1: training")
    assert (tmp_path / "rounds" / "round-1" / "run" / CHECKPOINT_FILE).exists()
    assert {"cls", "seg"} <= seen[-1].losses.keys()
    seen.clear()
    rounds_of(report=seen.append)
    assert (seen[0].stage, seen[0].step) == ("round 1: training", 2)


def test_finished_rounds_are_not_run_again(rounds_of):
    rounds_of()
    told = []
    rounds_of(judge=told.append, report=told.append)
    assert told == []


@pytest.mark.parametrize("by", ["fit", "network"])
def test_every_photo_gets_soft_labels_of_its_own_classes(by, tiny_config, start, tmp_path):
    config = tiny_config(rounds=ROUNDS)
    photos = training_photos(config, vocabulary_of(config))
    make_soft_labels(start, config, photos, tmp_path / "labels", by=by, device="cpu")
    labels = read_soft_labels(tmp_path / "labels")
    assert set(labels.rows) == {str(photo.path) for photo in photos}
    for photo in photos:
        names, maps = labels.of(str(photo.path))
        assert {vocabulary_of(config).channel(name) for name in names} == set(photo.tags.nonzero().flatten().tolist())
        assert abs(maps.astype(int).sum(axis=0) - 255).max() <= len(maps)
    assert not list((tmp_path / "labels").glob("part-*"))


def test_rounds_need_a_model_to_start_from(tiny_config, tmp_path):
    config = tiny_config()
    with pytest.raises(InvalidOption, match="random"):
        run_rounds(config, (), tmp_path, judge=lambda _: {})
