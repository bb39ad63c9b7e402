"""Models that were made here: in versions, whole or not at all, seen by their workspace alone."""

import io
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from tests.tiny_model import write_learnt_model
from toco.jobs.model_catalogue import ModelBroken, ModelCatalogue, ModelNotFound, find_models
from toco.jobs.published_models import NotPublished, PublishedModels, VersionNotFound
from toco.jobs.store import Store, model_key
from toco.model.errors import InvalidOption
from toco.model.learning.learnt_spec import read_learnt_spec
from toco.model.spec import read_spec


@pytest.fixture
def store(settings):
    return Store.open(settings)


@pytest.fixture
def published(settings, records, store):
    return PublishedModels(settings, records, store)


@pytest.fixture
def catalogue(settings, records, published, tiny_model, tmp_path):
    """The tiny model lies in the models folder; published models stand beside it."""
    shutil.copytree(tiny_model, tmp_path / "models" / "tiny")
    return ModelCatalogue(settings.model_copy(update={"models_dir": tmp_path / "models"}), records, published)


@pytest.fixture
def learnt(tiny_model, tmp_path):
    """Make a folder of learnt words; another seed is another model."""

    def make(seed: int = 0, words: tuple[str, ...] = ("mug", "lamp")):
        folder = tmp_path / f"learnt-{seed}"
        write_learnt_model(folder, tiny_model, words, seed=seed)
        return folder

    return make


def test_a_version_bears_the_name_it_was_published_under_and_the_same_files_are_one_version(published, learnt):
    first = published.publish("kitchen", learnt(), workspace="farm", job="j1")
    assert (first.number, first.kind, first.job, first.spec.name) == (1, "learnt", "j1", "kitchen")
    assert [word.word for word in first.words] == ["mug", "lamp"]
    assert published.publish("kitchen", learnt(), workspace="farm", job="j2") == first
    assert published.publish("kitchen", learnt(1), workspace="farm").number == 2
    model = published.get("kitchen", "farm")
    assert (model.current, model.earlier, [version.number for version in model.versions]) == (2, (1,), [2, 1])


def test_a_version_that_is_not_promoted_waits(published, learnt):
    published.publish("kitchen", learnt(), workspace="farm", promote=False)
    assert published.get("kitchen", "farm").current == 1  # a name stands for something
    published.publish("kitchen", learnt(1), workspace="farm", promote=False)
    assert published.get("kitchen", "farm").current == 1
    assert published.promote("kitchen", 2, "farm").current == 2
    assert published.rollback("kitchen", "farm").current == 1
    with pytest.raises(VersionNotFound, match="before this one"):
        published.rollback("kitchen", "farm")
    with pytest.raises(VersionNotFound, match="no version 3"):
        published.promote("kitchen", 3, "farm")


def test_a_deleted_version_leaves_the_one_before_current_and_the_last_one_takes_the_model(published, learnt, store):
    versions = [published.publish("kitchen", learnt(seed), workspace="farm") for seed in range(3)]
    published.promote("kitchen", 1, "farm")
    published.delete("kitchen", "farm", 1)
    assert published.get("kitchen", "farm").current == 3
    published.delete("kitchen", "farm", 3)
    assert published.get("kitchen", "farm").current == 2
    assert [found.key for found in store.under("models/")] == [model_key("farm", "kitchen", versions[1].digest)]
    published.delete("kitchen", "farm")
    assert list(store.under("models/")) == []
    assert published.all("farm") == []
    with pytest.raises(NotPublished):
        published.delete("kitchen", "farm")


def test_nothing_is_left_in_the_records_of_a_deleted_model(published, learnt, records):
    before = set(records.redis.keys("*"))
    published.publish("kitchen", learnt(), workspace="farm")
    published.delete("kitchen", "farm")
    assert set(records.redis.keys("*")) == before


def test_a_workspace_sees_its_own(published, catalogue, learnt):
    published.publish("kitchen", learnt(), workspace="farm")
    assert "kitchen" in catalogue.all("farm").known
    assert "kitchen" not in catalogue.all("zoo").known
    assert catalogue.find("kitchen", "farm").spec.vocabulary.names == ("mug", "lamp")
    with pytest.raises(ModelNotFound):
        catalogue.find("kitchen", "zoo")
    with pytest.raises(NotPublished):
        published.delete("kitchen", "zoo")
    other = published.publish("kitchen", learnt(2, ("cup",)), workspace="zoo")
    assert (other.number, catalogue.find("kitchen", "farm").spec.vocabulary.names) == (1, ("mug", "lamp"))


def test_what_was_submitted_for_an_older_version_still_finds_it(published, catalogue, learnt):
    first = published.publish("kitchen", learnt(), workspace="farm")
    second = published.publish("kitchen", learnt(1), workspace="farm")
    assert catalogue.find("kitchen", "farm").spec == second.spec.model_copy(
        update={"backbone": catalogue.find("tiny").spec.backbone}
    )
    assert catalogue.find("kitchen", "farm", version=first.spec.version).version == first


def test_learnt_words_without_their_encoder_are_broken_and_the_others_serve(settings, records, published, learnt):
    published.publish("kitchen", learnt(), workspace="farm")
    catalogue = ModelCatalogue(settings, records, published)  # the tiny model is not here
    found = catalogue.all("farm")
    assert [(broken.name, "encoder" in broken.reason) for broken in found.broken] == [("kitchen", True)]
    assert found.known
    with pytest.raises(ModelBroken, match="encoder"):
        catalogue.find("kitchen", "farm")


def test_learnt_words_stand_on_a_published_network_of_any_version(settings, records, published, learnt, tiny_model):
    published.publish("net", tiny_model, workspace="farm")
    published.publish("kitchen", learnt(), workspace="farm")
    catalogue = ModelCatalogue(settings, records, published)
    assert catalogue.encoder_of(catalogue.find("kitchen", "farm")).spec.name == "net"
    assert catalogue.all("farm").known["kitchen"].spec.backbone.name == read_spec(tiny_model).backbone.name


@pytest.mark.parametrize("name", ["", "default", "a/b", "../a", "-a", "a b", "x" * 65, "a:b"])
def test_names_that_no_address_or_file_can_have_are_refused(published, learnt, name):
    with pytest.raises(InvalidOption, match=r"can(not)? be called"):
        published.publish(name, learnt(), workspace="farm")


def test_the_zip_unpacked_into_a_models_folder_is_the_model(published, learnt, store, tiny_model, tmp_path):
    version = published.publish("kitchen", learnt(), workspace="farm")
    folder = tmp_path / "unpacked"
    shutil.copytree(tiny_model, folder / "tiny")
    with zipfile.ZipFile(io.BytesIO(store.get(model_key("farm", "kitchen", version.digest)))) as archive:
        archive.extractall(folder)
    known = find_models(folder).known["kitchen"]
    assert (known.spec.version, known.spec.vocabulary.names) == (version.spec.version, ("mug", "lamp"))
    assert known.words == version.words


def test_the_copy_on_a_machine_is_filled_once_and_whole(published, learnt, settings):
    version = published.publish("kitchen", learnt(), workspace="farm")
    folders = []

    def fetch():
        folders.append(published.local_folder("kitchen", version, "farm"))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 1
    assert read_learnt_spec(folders[0]).name == "kitchen"
    assert [path.name for path in folders[0].parent.iterdir()] == [version.digest]
    published.delete("kitchen", "farm")
    assert published.local_folder("kitchen", version, "farm") == folders[0]  # what is here is used
    shutil.rmtree(folders[0])
    with pytest.raises(VersionNotFound, match="was deleted"):
        published.local_folder("kitchen", version, "farm")
    assert list(folders[0].parent.iterdir()) == []


def test_another_copy_that_is_filled_meanwhile_harms_none(published, learnt, settings, monkeypatch):
    version = published.publish("kitchen", learnt(), workspace="farm")
    cache = published.local_folder("kitchen", version, "farm").parent
    shutil.rmtree(cache / version.digest)
    (cache / ".filled").mkdir()
    is_dir = Path.is_dir

    def seen_and_gone(path, **settings):
        found = is_dir(path, **settings)
        if path.name == ".filled":
            shutil.rmtree(path, ignore_errors=True)
        return found

    monkeypatch.setattr(Path, "is_dir", seen_and_gone)
    assert published.local_folder("kitchen", version, "farm").name == version.digest


def test_the_default_of_a_workspace_ends_with_the_model(published, catalogue, learnt):
    published.publish("kitchen", learnt(), workspace="farm")
    catalogue.set_default("kitchen", "farm")
    assert catalogue.find("", "farm").spec.name == "kitchen"
    assert catalogue.find("", "zoo").spec.name != "kitchen"
    published.delete("kitchen", "farm")
    assert catalogue.find("", "farm").spec.name == catalogue.find("", "zoo").spec.name
    catalogue.set_default("tiny", "farm")
    assert catalogue.find("", "zoo").spec.name == "tiny"


def test_what_was_stored_and_came_to_nothing_is_withdrawn_unless_a_version_has_it(published, learnt, store):
    first = published.publish("kitchen", learnt(), workspace="farm")
    published.withdraw("kitchen", "farm", published.store("kitchen", learnt(), workspace="farm"))
    published.withdraw("kitchen", "farm", published.store("kitchen", learnt(1), workspace="farm"))
    assert [found.key for found in store.under("models/")] == [model_key("farm", "kitchen", first.digest)]
