"""The Python client, synchronous and asynchronous, against the running service."""

import asyncio
import inspect
import json
import pickle
import subprocess
import sys

import httpx
import pytest

from toco.model.photos.assignment import NoRowMatches
from toco.service.client.async_client import AsyncClient
from toco.service.client.client import Client, ServiceError


def test_one_image_from_a_file_or_from_memory(client, photos):
    for image in (photos / "a.jpg", str(photos / "b.png"), (photos / "a.jpg").read_bytes()):
        answer = client.label(image, ["cat"], preset="fast", options={"refine": "none"})
        assert answer["item"]["summary"]["tags"] == ["cat"]


def test_a_folder_with_tags_by_name_and_a_broken_photo(client, photos):
    sent: list[dict] = []
    tags = {"a.jpg": ["cat"], "farm/c.jpg": ["dog"]}
    job = client.label_folder(photos, tags=tags, preset="fast", progress=sent.append, untagged="model")
    ended = client.wait(job["id"], timeout_seconds=120)
    assert (ended["state"], ended["counts"]["done"], ended["counts"]["failed"]) == ("partly_failed", 3, 1)
    assert sent[-1]["sent"] == sent[-1]["total"]
    by_name = {item["name"]: item for item in client.items(job["id"])}
    assert by_name["farm/c.jpg"]["summary"]["tags"] == ["dog"]
    assert by_name["b.png"]["summary"]["tag_source"] == "model"
    assert by_name["broken.jpg"]["error"]["code"] == "unreadable_image"


def test_nothing_is_tagged_by_the_classifier_unless_asked(client, photos):
    job = client.label_folder(photos, tags={"a.jpg": ["cat"], "farm/c.jpg": [], "lost.jpg": ["dog"]}, preset="fast")
    client.wait(job["id"], timeout_seconds=120)
    found = {item["name"]: item["error"] and item["error"]["code"] for item in client.items(job["id"])}
    assert found == {"a.jpg": None, "farm/c.jpg": None, "b.png": "empty_tags", "broken.jpg": "empty_tags"}
    assert job["notes"][:2] == [
        "1 row of 'tags' names no photo: 'lost.jpg'.",
        "2 photos have no row: 'b.png', 'broken.jpg'.",
    ]
    with pytest.raises(NoRowMatches, match=r"'A\.jpg' \(is 'A\.jpg' the photo 'a\.jpg'"):
        client.label_folder(photos, tags={"A.jpg": ["cat"]})


def test_tables_among_the_photos_are_taken_and_odd_files_refuse_only_themselves(client, photos):
    (photos / "tags.csv").write_text("image,tags,split\na.jpg,cat,train\nb.png,dog,val\nnosuffix,cat,train\n")
    (photos / "farm" / "_classes.csv").write_text("filename, cat, horse\nc.jpg,0,1\nlink.jpg,1,0\n")
    (photos / "farm" / "link.jpg").symlink_to(photos / "a.jpg")
    (photos / "nosuffix").write_bytes((photos / "a.jpg").read_bytes())
    (photos / "hard.jpg").hardlink_to(photos / "a.jpg")
    (photos / "line\nbreak.jpg").write_bytes((photos / "a.jpg").read_bytes())
    (photos / "broken.jpg").unlink()
    job = client.label_folder(photos, preset="fast", untagged="skip")
    client.wait(job["id"], timeout_seconds=120)
    found = {item["name"]: (item["state"], item["tags"]) for item in client.items(job["id"])}
    assert found == {
        "a.jpg": ("done", ["cat"]),
        "b.png": ("done", ["dog"]),
        "nosuffix": ("done", ["cat"]),
        "farm/c.jpg": ("done", ["horse"]),
        "farm/link.jpg": ("done", ["cat"]),
    }
    said = "\n".join(job["notes"])
    for part in (
        "farm/_classes.csv: ",
        "a column a class",
        "1 photo has no row: 'hard.jpg'",
        "1 refused: 'line\\nbreak",
    ):
        assert part in said


def test_refusals_carry_the_problem(client, photos):
    with pytest.raises(ServiceError, match="unicorn") as found:
        client.label(photos / "a.jpg", ["unicorn"], unknown_tags="refuse")
    assert (found.value.status, found.value.code) == (422, "unknown_tag")
    (photos / "empty").mkdir()
    with pytest.raises(ServiceError, match="no photo"):
        client.label_folder(photos / "empty")


@pytest.mark.slow
def test_a_service_that_is_away_is_said_so():
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="does not answer"):
        client.job("x")


def test_a_request_is_sent_again_when_the_service_is_away_for_a_moment():
    answers = iter([503, 429, 200])

    def serve(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        return httpx.Response(status, json={"id": "1"} if status == 200 else {"detail": "later"})

    with Client("http://service") as client:
        client._http.close()
        client._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(serve))
        assert client.job("1") == {"id": "1"}


def methods(kind: type) -> dict[str, inspect.Signature]:
    return {name: inspect.signature(found) for name, found in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")}  # fmt: skip


def test_the_asynchronous_client_has_every_method_with_the_same_arguments():
    asked, given = methods(Client), methods(AsyncClient)
    assert asked.keys() == given.keys()
    for name, signature in asked.items():
        assert given[name].parameters == signature.parameters, name


def test_an_error_keeps_the_code_of_the_problem_across_processes():
    error = ServiceError("No.", fix="Go.", status=422, problem={"code": "unknown_tag"})
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.status, str(again)) == ("unknown_tag", 422, "No. Go.")
    assert (ServiceError("No answer.").code, ServiceError.code) == ("service_error", "service_error")


def test_the_asynchronous_client_does_the_same(live, photos, tmp_path):
    async def use() -> dict:
        async with AsyncClient(live.url) as client:
            one, two = await asyncio.gather(
                client.label(photos / "a.jpg", ["cat"], preset="fast"),
                client.label(photos / "b.png", ["dog"], preset="fast"),
            )
            assert two["item"]["summary"]["tags"] == ["dog"]
            job = two["job"]["id"]
            decided = await client.decide(job, "000000", "accept")
            assert [item["decision"] for item in await client.items(job)] == [decided["decision"]] == ["accept"]
            assert job in [found["id"] for found in await client.jobs(limit=200)]
            assert (await client.models())["default"] == "tiny"
            await client.export(one["job"]["id"], "voc", tmp_path / "out.zip")
            await client.delete(two["job"]["id"])
            return await client.job(one["job"]["id"])

    assert asyncio.run(use())["state"] == "succeeded"
    assert (tmp_path / "out.zip").stat().st_size > 0


def test_settings_in_force_are_printed_as_json(live):
    command = [sys.executable, "-m", "toco", "settings"]
    found = subprocess.run(command, env=live.environment, capture_output=True, text=True, check=True)
    shown = json.loads(found.stdout)
    assert shown["default_model"] == "tiny"
    assert "***" in shown["redis_url"]
