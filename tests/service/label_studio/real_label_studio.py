"""A real Label Studio in a virtual environment of its own."""

import json
import os
import subprocess
import time
from pathlib import Path

import httpx

from tests.environments import label_studio

TOKEN = "0123456789abcdef0123456789abcdef01234567"
USER, PASSWORD = "annotator@example.org", "a-password-of-a-test"

DECODE = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle
masks = {}
for region in json.load(open(sys.argv[1])):
    picture = decode_rle(region["value"]["rle"]).reshape(region["original_height"], region["original_width"], 4)
    masks[region["id"]] = picture[..., 3] > 0
np.savez(sys.argv[2], **masks)
"""


class RealLabelStudio:
    """Label Studio on a free port with a database of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.programs = label_studio().parent
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, headers={"authorization": f"Token {TOKEN}"}, timeout=200)

    def start(self, seconds: float = 600) -> None:
        """Start it; making its database takes a while."""
        settings = {
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
        }
        command = [self.programs / "label-studio", "start", "--no-browser", "--data-dir", self.folder / "data"]
        command += ["--username", USER, "--password", PASSWORD, "--user-token", TOKEN, "--enable-legacy-api-token"]
        command += ["--internal-host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "label-studio.log").open("wb") as log:
            self._process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.http.get("/health").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        self.stop()
        raise TimeoutError(self.log()[-3000:])

    def stop(self) -> None:
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return (self.folder / "label-studio.log").read_text()

    def call(self, method: str, path: str, **arguments) -> object:
        answer = self.http.request(method, path, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def make_project(self, title: str, config: str) -> int:
        return self.call("POST", "/api/projects", json={"title": title, "label_config": config})["id"]

    def upload(self, project: int, photos: dict[str, bytes]) -> dict[str, str]:
        """Upload photos and return their addresses in Label Studio by name."""
        files = {f"file{n}": (name, content, "image/jpeg") for n, (name, content) in enumerate(photos.items())}
        found = self.call("POST", f"/api/projects/{project}/import", params={"commit_to_project": "false"}, files=files)
        addresses = {}
        for upload in found["file_upload_ids"]:
            path = self.call("GET", f"/api/import/file-upload/{upload}")["file"]
            addresses[path.rpartition("/")[2].partition("-")[2]] = f"/data/{path}"
        return addresses

    def import_tasks(self, project: int, tasks: list[dict]) -> list[dict]:
        """Import tasks and return them in their order."""
        self.call("POST", f"/api/projects/{project}/import", json=tasks)
        return self.tasks(project)

    def tasks(self, project: int) -> list[dict]:
        found = self.call("GET", "/api/tasks", params={"project": project, "page_size": 200, "fields": "all"})["tasks"]
        return sorted(found, key=lambda task: task["id"])

    def retrieve_predictions(self, project: int) -> None:
        """Press the button of the data manager for all tasks."""
        wanted = {"selectedItems": {"all": True, "excluded": []}}
        query = {"id": "retrieve_tasks_predictions", "project": project}
        self.call("POST", "/api/dm/actions", params=query, json=wanted)

    def predictions(self, project: int) -> dict[int, list[dict]]:
        """Read predictions back, by task."""
        found: dict[int, list[dict]] = {}
        for prediction in self.call("GET", "/api/predictions", params={"project": project}):
            found.setdefault(prediction["task"], []).append(prediction)
        return found

    def decode_brush(self, regions: list[dict]) -> dict:
        """Decode brush regions by Label Studio's own SDK; (H, W) bool by region id."""
        import numpy as np

        source, target = self.folder / "regions.json", self.folder / "masks.npz"
        source.write_text(json.dumps(regions))
        subprocess.run([self.programs / "python", "-c", DECODE, source, target], check=True)
        with np.load(target) as masks:
            return dict(masks)
