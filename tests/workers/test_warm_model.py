"""Which models stay in memory: nothing is loaded again and again."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_model import write_learnt_model
from toco.jobs.model_catalogue import ModelCatalogue, Wishes
from toco.jobs.published_models import PublishedModels
from toco.jobs.store import Store
from toco.workers.warm_model import WarmModels, is_out_of_memory, warm_plan


@pytest.mark.parametrize(
    ("used", "warm", "cold", "plan"),
    [
        ({"a": 0}, {}, {"a": 1}, (["a"], [])),  # unloaded as asked
        ({"a": 1}, {}, {"a": 1}, ([], [])),  # used after that: stays
        ({}, {"a": 1, "b": 2, "c": 3}, {}, ([], ["c", "b"])),  # as many as there is room for, newest wish first
        ({"b": 3, "c": 3}, {"a": 1, "b": 2, "c": 3}, {}, ([], [])),  # more wanted than fit: what is there stays
        ({"a": 0, "b": 0}, {"c": 1}, {}, (["a"], ["c"])),  # the one that rested longest makes way
        ({"a": 1, "b": 1}, {"c": 1}, {}, ([], [])),  # both were used since: a job's model is not pushed out
    ],
)
def test_the_plan(used, warm, cold, plan):
    wishes = Wishes(max([*warm.values(), *cold.values()], default=0), warm, cold)
    assert warm_plan(used, wishes, most=2) == plan


def test_ten_models_of_learnt_words_share_one_encoder(settings, records, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "models" / "tiny")
    published = PublishedModels(settings, records, Store.open(settings))
    for number in range(10):
        folder = tmp_path / f"words-{number}"
        write_learnt_model(folder, tiny_model, ("mug", f"thing-{number}"), seed=number)
        published.publish(f"words-{number}", folder, workspace="farm")
    settings = settings.model_copy(update={"models_dir": tmp_path / "models"})
    catalogue = ModelCatalogue(settings, records, published)
    models = WarmModels(catalogue, device="cpu", most=1)
    labelers = [models.get(f"words-{number}", workspace="farm") for number in range(10)]
    assert models.names() == ["tiny"]
    assert len({id(labeler.reader) for labeler in labelers}) == 1
    assert labelers[0].reader.network is models.get("tiny").network
    assert models.get("words-3", workspace="farm") is labelers[3]
    vocabularies = [labeler.vocabulary.names for labeler in labelers]
    assert vocabularies == [("mug", f"thing-{number}") for number in range(10)]
    pixels = np.full((48, 64, 3), 90, np.uint8)
    assert labelers[9].label_one(pixels, ["mug", "thing-9"]).tags == ("mug", "thing-9")
    catalogue.want("tiny", warm=False)
    models.sync()
    assert models.names() == []
    assert models.get("words-3", workspace="farm") is not labelers[3], "let go of with its encoder"


def test_a_worker_whose_graphs_label_asks_for_no_torch_beside(settings, records, tiny_model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    shutil.copytree(tiny_model, tmp_path / "models" / "tiny")
    settings = settings.model_copy(update={"models_dir": tmp_path / "models"})
    catalogue = ModelCatalogue(settings, records, PublishedModels(settings, records, Store.open(settings)))
    models = WarmModels(catalogue, device="cpu", most=1, runtime="openvino", cache=tmp_path / "cache")
    assert models.get("tiny").runtime == "openvino"
    monkeypatch.setitem(sys.modules, "torch", None)  # an import would fail
    assert (models.device_name(), models.device_memory()) == ("cpu", {})
    assert not is_out_of_memory(RuntimeError("another"))
    catalogue.want("tiny", warm=False)
    models.sync()
    assert models.names() == []


names = st.sampled_from("abcde")


@given(
    st.dictionaries(names, st.integers(0, 9)),
    st.dictionaries(names, st.integers(1, 9)),
    st.dictionaries(names, st.integers(1, 9)),
    st.integers(1, 3),
)
def test_a_plan_fits_and_once_carried_out_asks_for_nothing_more(used, warm, cold, most):
    used = dict(list(used.items())[:most])
    wishes = Wishes(9, warm, {name: number for name, number in cold.items() if name not in warm})
    drop, load = warm_plan(used, wishes, most=most)
    after = {name: last for name, last in used.items() if name not in drop} | dict.fromkeys(load, wishes.number)
    assert len(after) <= most
    assert warm_plan(after, wishes, most=most) == ([], [])


PARENT = """
import sys
import toco.model.labelling.labeler, toco.workers.tasks
print([name for name in ("openvino",) if name in sys.modules])
"""


@pytest.mark.slow
def test_what_the_parent_imports_before_the_fork_starts_no_runtime_with_threads_of_its_own():
    found = subprocess.run([sys.executable, "-c", PARENT], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
