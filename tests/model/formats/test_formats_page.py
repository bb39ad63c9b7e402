"""The code blocks of docs/formats.md run, on exports of a photo that ships with the project."""

import re
from pathlib import Path

import pytest

from toco.model.formats.registry import FORMATS, open_writer
from toco.model.formats.sink import FolderSink
from toco.model.photos.classes import VOC

PAGE = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
BLOCKS = re.findall(r"^## (.*?)$|^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_code_of_the_page_runs(tmp_path, monkeypatch, make_item, encode, make_photo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("cat.jpg", "two dogs.jpg"):
        folder = tmp_path / "artifacts" / name
        folder.mkdir(parents=True)
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(make_photo())
        for file, data in encode().items():
            (folder / file).write_bytes(data)
    for format_name in FORMATS:
        with FolderSink(tmp_path / format_name) as sink, open_writer(format_name, sink, VOC) as writer:
            writer.add(make_item("cat.jpg"))
    blocks = [code for _, code in BLOCKS if code]
    assert len(blocks) == 11
    for code in blocks:
        exec(compile(code, "docs/formats.md", "exec"), {})


def test_the_page_describes_every_format():
    titles = " ".join(title for title, _ in BLOCKS)
    for name in FORMATS:
        assert re.search(rf"(^| ){name}( |$)", titles)
        assert f"| [`{name}`]" in PAGE
