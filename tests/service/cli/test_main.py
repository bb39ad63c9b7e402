"""The command line starts fast, lists its commands, and says what is wrong in one line."""

import subprocess
import sys

import pytest

from toco.service.cli.commands import COMMANDS, load


def test_every_command_is_listed_with_the_first_sentence_of_its_own_help(toco):
    listed = toco("--help")
    assert listed.exit_code == 0
    for name, entry in COMMANDS.items():
        assert (f" {name} " in listed.output) is not entry.hidden
        assert " ".join(load(name).help.split("\n\n")[0].split()) == entry.help


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"bench"}))
def test_every_command_has_help(toco, name):
    found = toco(name, "--help")
    assert found.exit_code == 0
    assert f"Usage: toco {name}" in found.output


def test_a_misspelt_command_is_named(toco):
    found = toco("lable")
    assert found.exit_code == 2
    assert "Did you mean 'label'?" in found.stderr


def test_errors_are_one_line_without_a_traceback(toco, tmp_path):
    result = toco("label", tmp_path / "none", "--out", tmp_path / "out", "--tag", "cat")
    assert result.exit_code == 2
    assert result.stderr.startswith("toco: There is no file or folder")
    assert len(result.stderr.splitlines()) == 1


def test_errors_of_the_file_system_are_one_line_too(toco, tmp_path, tiny_model, photos, quick):
    (tmp_path / "out").write_text("a file where a folder is due")
    result = toco("label", photos / "a.jpg", "--out", tmp_path / "out", "--tag", "cat", "--no-crf", *quick)
    assert result.exit_code == 2
    *report, said = result.stderr.splitlines()
    assert said.startswith("toco: Not a directory")
    assert not any(line.startswith(("toco:", "Traceback", "  File")) for line in report)  # what was understood, no more


@pytest.mark.parametrize("loaded", ["sys", "torch"])
@pytest.mark.parametrize(("asked", "code"), [("--help", 0), ("lable", 2)])
def test_the_entry_point_runs_the_command_line_and_ends_its_process(asked, code, loaded):
    program = f"import {loaded}; from toco.service.cli.main import main; main(); print('never')"
    found = subprocess.run([sys.executable, "-c", program, asked], capture_output=True, text=True, check=False)
    assert found.returncode == code
    assert "label" in found.stdout + found.stderr
    assert "never" not in found.stdout
