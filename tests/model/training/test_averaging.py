"""The average of models: of one shape, and never of none."""

import pytest

from toco.model.errors import InvalidOption
from toco.model.training.averaging import average_models
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.trainer import Trainer
from toco.model.weights_io.checkpoint import load_model


@pytest.fixture
def model_of(tiny_config, tmp_path):
    def make(name, **changes):
        config = tiny_config(schedule={"steps": 1}, **changes)
        trainer = Trainer(config, training_photos(config, vocabulary_of(config)), tmp_path / name, device="cpu")
        trainer.run()
        return trainer.model_folder

    return make


def test_a_model_averaged_with_itself_is_itself(model_of, tmp_path, close):
    model = model_of("one")
    average_models([model, model, model], tmp_path / "average")
    one, average = load_model(model)[0].state_dict(), load_model(tmp_path / "average")[0].state_dict()
    assert one.keys() == average.keys()
    for name, value in one.items():
        close(average[name], value)


@pytest.mark.parametrize("other", [("cat", "dog", "person"), ("cat", "dog", "bird", "person")])
def test_models_of_other_classes_are_not_averaged(other, model_of, tmp_path):
    models = [model_of("four"), model_of("other", classes=other)]
    with pytest.raises(InvalidOption, match="other"):
        average_models([models[1], models[0], models[1]], tmp_path / "average")
    assert not (tmp_path / "average").exists()


def test_no_models_have_no_average(tmp_path):
    with pytest.raises(InvalidOption):
        average_models([], tmp_path)
