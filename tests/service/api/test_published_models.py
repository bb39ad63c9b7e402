"""Models that were made here, over REST, with the client and on the command line."""

import asyncio
import zipfile

import pytest
from typer.testing import CliRunner

from tests.tiny_model import write_learnt_model
from toco.jobs.job import DEFAULT_WORKSPACE
from toco.jobs.model_catalogue import find_models
from toco.jobs.published_models import PublishedModels
from toco.jobs.settings import load_settings
from toco.jobs.store import Store
from toco.model.formats.artifacts import read_result
from toco.service.cli.main import app
from toco.service.client.async_client import AsyncClient
from toco.service.client.client import ServiceError

pytestmark = pytest.mark.slow


@pytest.fixture
def kitchen(live, tiny_model, tmp_path):
    """Two versions of learnt words on the tiny model, in the service that runs; the second is current."""
    settings = load_settings(data_dir=live.folder, redis_url=live.valkey.url, _env_file=None)
    published = PublishedModels(settings, live.records(), Store.open(settings))
    for seed, words in enumerate([("mug", "lamp"), ("mug", "lamp", "vase")]):
        folder = tmp_path / f"words-{seed}"
        write_learnt_model(folder, tiny_model, words, seed=seed)
        published.publish("kitchen", folder, workspace=DEFAULT_WORKSPACE, job=f"job-{seed}")
    yield published
    if published.find("kitchen", DEFAULT_WORKSPACE):
        published.delete("kitchen", DEFAULT_WORKSPACE)


def test_a_learnt_model_is_listed_shown_and_labels_alone(client, http, kitchen, jpeg):
    (listed,) = [model for model in client.models()["models"] if model["name"] == "kitchen"]
    assert (listed["kind"], listed["published"], listed["number"], listed["versions"]) == ("learnt", True, 2, 2)
    assert [word["word"] for word in listed["words"]] == ["mug", "lamp", "vase"]
    assert listed["encoder"] == listed["provenance"]["encoder"]
    answer = client.label(jpeg(), ["mug", "lamp"], model="kitchen")
    result = read_result(client.artifact(answer["job"]["id"], answer["item"]["id"], "result.json"))
    assert result.model_version == listed["version"]
    assert [word.understood for word in result.words] == ["mug", "lamp"]
    assert client.check_tags(["mug", "cat"], model="kitchen")["open_photos"] == 1


def test_a_photo_without_tags_is_refused_where_words_alone_are_known(http, kitchen, jpeg):
    answer = http.post("/v1/label", files={"image": ("a.jpg", jpeg(70))}, data={"model": "kitchen"})
    assert (answer.status_code, answer.json()["code"]) == (422, "tags_needed")


def test_a_job_keeps_the_version_it_was_submitted_for(client, kitchen, jpeg):
    first, second = (version["version"] for version in reversed(client.model_versions("kitchen")["versions"]))
    assert client.label(jpeg(71), ["mug"], model="kitchen")["job"]["model_version"] == second
    assert client.roll_back_model("kitchen")["current"] == 1
    assert client.label(jpeg(72), ["mug"], model="kitchen")["job"]["model_version"] == first
    assert client.promote_model("kitchen", 2)["earlier"] == [1]


def test_versions_are_compared_downloaded_and_deleted(client, kitchen, models_folder, tmp_path):
    compared = client.compare_models("kitchen", 1, 2)["words"]
    assert [(word["word"], word["first"] is None) for word in compared] == [
        ("lamp", False),
        ("mug", False),
        ("vase", True),
    ]
    target = client.download_model("kitchen", tmp_path / "kitchen.zip", 1)
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path / "models")
        assert sorted(archive.namelist()) == ["kitchen/learnt.json", "kitchen/words.safetensors"]
    (tmp_path / "models" / "tiny").symlink_to(models_folder / "tiny")
    assert find_models(tmp_path / "models").known["kitchen"].spec.vocabulary.names == ("mug", "lamp")
    client.delete_model("kitchen", 2)
    assert client.model_versions("kitchen")["current"] == 1
    client.delete_model("kitchen")
    for call in (client.model, client.model_versions, client.delete_model, client.roll_back_model):
        with pytest.raises(ServiceError) as found:
            call("kitchen")
        assert found.value.status == 404


def test_a_model_in_a_folder_is_not_changed_over_the_api(http, kitchen):
    for method, path in (("delete", ""), ("post", "/rollback"), ("get", "/versions"), ("get", "/download")):
        answer = http.request(method, f"/v1/models/tiny{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "model_not_published")


def test_the_command_line_and_the_asynchronous_client_do_the_same(live, kitchen, tmp_path):
    def run(*arguments: str) -> str:
        found = CliRunner().invoke(app, ["models", *arguments, "--url", live.url])
        assert found.exit_code == 0, found.output
        return found.output

    assert "kitchen" in run("list")
    shown = run("show", "kitchen")
    assert "vase: 9 photos, 6 with nothing else; learnt, recognised in 90% of its photos" in shown
    assert "* 2: kitchen@" in shown
    assert "* 1: kitchen@" in run("promote", "kitchen", "1")
    assert "* 2: kitchen@" in run("rollback", "kitchen")
    assert "vase" in run("compare", "kitchen", "1", "2")
    run("download", "kitchen", "--out", str(tmp_path / "k.zip"))
    assert zipfile.is_zipfile(tmp_path / "k.zip")
    run("delete", "kitchen", "--version", "2")

    async def use() -> int:
        async with AsyncClient(live.url) as client:
            return (await client.model_versions("kitchen"))["current"]

    assert asyncio.run(use()) == 1
    run("delete", "kitchen")
