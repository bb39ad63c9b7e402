"""One folder that does not fit leaves all other models in use."""

import shutil

import pytest

from toco.jobs.model_catalogue import ModelBroken, ModelCatalogue, ModelNotFound, find_models
from toco.model.spec import SPEC_FILE, WEIGHTS_FILE


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A models folder: a whole model, and a copy to break."""
    for name in ("whole", "copy"):
        shutil.copytree(tiny_model, tmp_path / "models" / name)
    return tmp_path / "models"


def rename(model, name: str) -> None:
    spec = model / SPEC_FILE
    spec.write_text(spec.read_text().replace('"name": "tiny"', f'"name": "{name}"'))


def half_the_weights(model):
    rename(model, "second")
    weights = model / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def half_the_spec(model):
    spec = model / SPEC_FILE
    spec.write_text(spec.read_text()[:200])


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (half_the_weights, "second", "cut off"),
        (lambda model: (rename(model, "second"), (model / WEIGHTS_FILE).unlink()), "second", "missing"),
        (half_the_spec, "copy", "does not fit"),
        (lambda model: (model / SPEC_FILE).unlink(), "copy", f"No {SPEC_FILE}"),
        (lambda model: (model / SPEC_FILE).write_bytes(b"\xff\xfe"), "copy", "does not fit"),
        (lambda model: None, "tiny", "has the name 'tiny' already"),
    ],
    ids=["half weights", "no weights", "half spec", "no spec", "garbage", "same name"],
)
def test_a_broken_folder_is_listed_with_the_reason_and_the_others_serve(
    settings, records, folder, damage, name, reason
):
    damage(folder / "copy")
    catalogue = ModelCatalogue(settings.model_copy(update={"models_dir": folder}), records)
    found = catalogue.all()
    assert "tiny" in found.known
    assert [broken.name for broken in found.broken] == [name]
    assert reason in found.broken[0].reason
    assert catalogue.find("tiny").spec.name == "tiny"
    if name != "tiny":
        with pytest.raises(ModelBroken, match=r"cannot be used"):
            catalogue.find(name)


def test_a_model_whose_copy_came_to_its_end_serves_at_once(settings, records, folder, tiny_model):
    half_the_weights(folder / "copy")
    catalogue = ModelCatalogue(settings.model_copy(update={"models_dir": folder}), records)
    assert len(catalogue.all().broken) == 1
    shutil.copy(tiny_model / WEIGHTS_FILE, folder / "copy" / WEIGHTS_FILE)
    assert catalogue.find("second").spec.name == "second"
    assert catalogue.all().broken == []


def test_an_unknown_name_tells_the_known_ones(folder):
    shutil.rmtree(folder / "copy")
    with pytest.raises(ModelNotFound) as unknown:
        find_models(folder).named("none")
    assert "tiny" in unknown.value.fix


def test_wishes_are_numbered_and_the_last_one_about_a_model_counts(settings, records, folder):
    shutil.rmtree(folder / "copy")
    catalogue = ModelCatalogue(settings.model_copy(update={"models_dir": folder}), records)
    catalogue.want("tiny", warm=True)
    catalogue.want("tiny", warm=False)
    wishes = catalogue.wishes()
    assert (wishes.number, wishes.warm, wishes.cold) == (2, {}, {"tiny": 2})
