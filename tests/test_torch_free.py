"""The modules that the API process shares with the model floor load no torch."""

import subprocess
import sys

SHARED = (
    "crf.settings", "errors", "evaluation.datasets.catalogue", "evaluation.evaluate", "formats.artifacts",
    "formats.registry", "method.label", "options", "photos.archives", "photos.classes", "photos.images",
    "photos.palette",
    "photos.pictures", "photos.tags", "spec",
)  # fmt: skip

PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"toco.model.{name}")
    if "torch" in sys.modules:
        sys.exit(f"toco.model.{name} loads torch")
"""


def test_shared_modules_load_no_torch():
    found = subprocess.run([sys.executable, "-c", PROGRAM, *SHARED], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
