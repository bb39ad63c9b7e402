"""A run that several processes share."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.model.training.run_contents import CLASSIFICATION
from toco.model.training.trainer import LOG_FILE, initial_spec

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
    cued = {"saliency": {"network": "focus.onnx"}}
    assert initial_spec(tiny_config(**cued)).decoder_weight == 0.3
    assert initial_spec(tiny_config(**cued, loss={"cam": 0.3})).decoder_weight == 0.08
