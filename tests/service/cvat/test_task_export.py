"""A task's annotations over CVAT's API: its own SDK against a server that answers as CVAT does."""

import pytest

from tests.service.annotation_tools import web  # noqa: F401 - the fixture
from toco.service.cli.main import app
from toco.service.cvat.task_export import CvatRefused, export_task

EXPORT = "/api/tasks/12/dataset/export?format=Segmentation+mask+1.1&save_images=False&location=local"
ABOUT = {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "/logo", "subtitle": ""}


def request(state: str, server: str, message: str = "") -> dict:
    """What CVAT says of work in the background."""
    return {
        "id": "export-12",
        "status": state,
        "message": message,
        "created_date": "2026-11-28T10:00:00Z",
        "operation": {"type": "export:dataset", "target": "task"},
        "result_url": f"{server}/api/tasks/12/dataset/download",
    }


@pytest.fixture
def cvat(web):  # noqa: F811 - the fixture
    web.json("/api/server/about", ABOUT)
    none = {"url": web.url, "count": 0, "completed": 0, "validation": 0}
    web.json("/api/tasks/12", {"id": 12, "name": "pets", "jobs": none, "labels": none})
    web.json(f"POST {EXPORT}", {"rq_id": "export-12"}, status=202)
    web.json("/api/requests/export-12", request("finished", web.url))
    web.pages["/api/tasks/12/dataset/download"] = (200, {}, b"the zip")
    return web


def test_the_zip_is_made_and_fetched_by_a_token(cvat, tmp_path):
    export_task(cvat.url, "secret", 12, tmp_path / "task.zip")
    assert (tmp_path / "task.zip").read_bytes() == b"the zip"
    assert cvat.headers_of("/api/tasks/12")[0]["Authorization"] == "Bearer secret"


def test_an_export_that_fails_over_there_says_why(cvat, tmp_path):
    cvat.json("/api/requests/export-12", request("failed", cvat.url, "no labels"))
    with pytest.raises(CvatRefused, match="no labels"):
        export_task(cvat.url, "secret", 12, tmp_path / "task.zip")


def test_a_server_that_is_no_cvat_is_a_typed_error(web, tmp_path):  # noqa: F811 - the fixture
    web.json("/api/server/about", {"name": "another"})
    with pytest.raises(CvatRefused, match="task 12"):
        export_task(web.url, "secret", 12, tmp_path / "task.zip")


def test_without_a_zip_the_command_asks_for_what_is_missing(capsys):
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["jobs", "import", "01abc", "--cvat", "https://cvat.example.com"])
    assert result.exit_code == 2
    assert "--task" in result.stderr
