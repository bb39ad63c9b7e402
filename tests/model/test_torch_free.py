"""The modules that the API process shares with the model floor load no torch."""

import subprocess
import sys

SHARED = (
    "benchmark_datasets.catalogue", "classes", "crf.settings", "errors", "evaluation", "formats.artifacts",
    "formats.registry", "images", "label", "options", "palette", "pictures", "spec", "tags",
)  # fmt: skip

PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"model.{name}")
    if "torch" in sys.modules:
        sys.exit(f"model.{name} loads torch")
"""


def test_shared_modules_load_no_torch():
    found = subprocess.run([sys.executable, "-c", PROGRAM, *SHARED], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
