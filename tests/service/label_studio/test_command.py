"""`toco labelstudio connect` against a web server that answers as Label Studio does."""

import json

import pytest
from typer.testing import CliRunner

from toco.service.cli.main import app
from toco.service.label_studio.labelling_config import parse_labelling_config

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SECRET = "a-webhook-secret-of-some-length"


@pytest.fixture
def connect(web, models_folder, tmp_path):
    environment = {
        "TOCO_MODELS_DIR": str(models_folder),
        "TOCO_DATA_DIR": str(tmp_path),
        "TOCO_DEFAULT_MODEL": "tiny",
        "TOCO_PORT": "8123",
        "TOCO_LABEL_STUDIO_WEBHOOK_SECRET": SECRET,
    }

    def run(*arguments):
        given = ["labelstudio", "connect", "--url", web.url, "--token", TOKEN, "--project", "3", *arguments]
        return CliRunner().invoke(app, given, env=environment)

    return run


def test_a_new_backend_is_registered_with_its_secret_and_its_settings(web, connect):
    web.json("/api/ml?project=3", [{"id": 1, "title": "another"}])
    web.json("POST /api/ml", {"id": 9}, status=201)
    result = connect("--key", "toco_key", "--region", "brush", "--region", "polygon", "--interactive")
    assert result.exit_code == 0, result.output
    (body,) = web.bodies("POST", "/api/ml")
    assert body == {
        "project": 3,
        "title": "ToCo",
        "url": f"http://127.0.0.1:8123/labelstudio/{SECRET}",
        "is_interactive": True,
        "extra_params": {"preset": "balanced", "regions": ["brush", "polygon"]},
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "toco",
        "basic_auth_pass": "toco_key",
    }
    assert web.headers_of("/api/ml")[0]["authorization"] == f"Token {TOKEN}"
    config = parse_labelling_config(result.stdout)
    assert [control.kind for control in config.controls] == ["brush", "polygon"]
    assert [label.value for label in config.controls[0].labels] == ["cat", "dog", "horse", "person"]
    assert SECRET not in result.output
    assert "Backend 9" in result.stderr


def test_our_own_backend_is_connected_anew(web, connect):
    web.json("/api/ml?project=3", [{"id": 9, "title": "ToCo"}])
    web.json("PATCH /api/ml/9", {"id": 9})
    result = connect("--backend", "http://toco.example/labelstudio/")
    assert (result.exit_code, "anew" in result.stderr) == (0, True), result.output
    (body,) = web.bodies("PATCH", "/api/ml/9")
    assert (body["url"], body["auth_method"]) == (f"http://toco.example/labelstudio/{SECRET}", "NONE")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "ML_BLOCK_LOCAL_IP"),
        (("--model", "none"), "No model 'none'"),
        (("--region", "ellipse"), "regions"),
        (("--preset", "best"), "preset"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(web, connect, arguments, said):
    web.json("/api/ml?project=3", [])
    refusal = {"validation_errors": {"url": ["URL resolves to a reserved network address"]}}
    web.json("POST /api/ml", refusal, status=400)
    result = connect(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, json.dumps(result.stderr)
