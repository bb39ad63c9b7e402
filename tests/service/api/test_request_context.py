"""What the log tells of a request, and what it never tells."""

import logging

import pytest
from starlette.testclient import TestClient

from toco.jobs.settings import load_settings
from toco.service.applications.annotation_tools import create_annotation_app
from toco.service.applications.whole import create_app

SECRET = "a-webhook-secret-of-some-length"


@pytest.mark.parametrize(("create", "root"), [(create_app, "/labelstudio"), (create_annotation_app, "")])
def test_the_secret_in_the_address_of_a_webhook_is_never_logged(create, root, valkey, models_folder, tmp_path, caplog):
    settings = load_settings(
        redis_url=valkey.url, data_dir=tmp_path, models_dir=models_folder, default_model="tiny", auth=True,
        label_studio_webhook_secret=SECRET, _env_file=None,
    )  # fmt: skip
    paths = {f"{root}/{SECRET}/webhook": 201, f"{root}/{SECRET}/nothing": 404, f"{root}/{SECRET[:-1]}/webhook": 401}
    with TestClient(create(settings)) as client, caplog.at_level(logging.INFO):
        for path, status in paths.items():
            assert client.post(path, json={"action": "TASKS_CREATED"}).status_code == status
    told = [vars(record) for record in caplog.records if record.name == "toco.requests"]
    assert [entry["path"] for entry in told] == [f"{root}/***/webhook", f"{root}/***/nothing", f"{root}/***/webhook"]
    assert SECRET[:-1] not in str(told)
