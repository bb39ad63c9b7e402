"""Names, sinks and memory: an export neither leaves its folder nor grows in memory."""

import gc
import io
import json
import pathlib
import tracemalloc
import zipfile

import numpy as np
import pytest

from toco.model.errors import InvalidArray
from toco.model.formats.artifacts import InvalidArtifact
from toco.model.formats.item import LabelledItem
from toco.model.formats.registry import FORMATS, open_writer
from toco.model.formats.sink import DuplicateName, FolderSink, Sink, ZipSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import VOC
from toco.model.photos.names import InvalidName, require_relative

GOOD_NAMES = [
    "cat.jpg",
    "farm/two dogs.png",
    "..hidden",
    "a..b/c",
    "K\u00e4tzchen \U0001f408\u200d\u2b1b.jpg",
    "12:30.jpg",
]
BAD_NAMES = [
    *("", ".", "..", "/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a\\b", "C:/a"),
    *("a\nb", "a\0b", "a\u2028b", "\ud800"),
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_relative_names_are_taken(name):
    assert require_relative(name) == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_folder_or_break_lists_are_refused(name, make_item, tmp_path):
    with pytest.raises(InvalidName):
        make_item(name)
    with pytest.raises(InvalidName):
        FolderSink(tmp_path).write(name, b"")
    with pytest.raises(InvalidName):
        ZipSink(io.BytesIO()).write(name, b"")


def test_an_item_checks_its_masks(make_item):
    item = make_item()
    with pytest.raises(InvalidArray, match=r"float64.*uint8 \(90, 120\)"):
        LabelledItem("a", item.result, item.pseudo_mask.astype(float))
    with pytest.raises(InvalidArray, match=r"\(89, 120\)"):
        LabelledItem("a", item.result, item.pseudo_mask, item.pseudo_mask[1:])


def test_an_item_needs_its_result_and_mask(make_item):
    with pytest.raises(InvalidArtifact, match=r"result\.json"):
        LabelledItem.from_artifacts("a", lambda name: None)
    with pytest.raises(InvalidArtifact, match="mask"):
        make_item(outputs=("cam",))
    bare = make_item(outputs=("pseudo_mask",))
    assert bare.segmentation is None
    with pytest.raises(InvalidArtifact, match=r"cam\.npz"):
        bare.load_cams()


@pytest.fixture(params=["folder", "zip"])
def sink_and_reader(request, tmp_path):
    if request.param == "folder":
        return FolderSink(tmp_path), lambda name: (tmp_path / name).read_bytes()
    stream = io.BytesIO()
    return ZipSink(stream), lambda name: zipfile.ZipFile(stream).read(name)


def test_a_sink_takes_files_whole_and_in_pieces(sink_and_reader):
    sink, read = sink_and_reader
    with sink:
        sink.write("a/b.txt", b"text")
        with sink.open("c.json") as file:
            file.write(b"[1,")
            file.write(b"2]")
    assert (read("a/b.txt"), read("c.json")) == (b"text", b"[1,2]")


def test_a_sink_takes_each_name_once(sink_and_reader):
    sink, _ = sink_and_reader
    with sink:
        sink.write("a", b"1")
        with pytest.raises(DuplicateName, match="'a'"):
            sink.write("a", b"2")


def test_a_folder_replaces_older_files_and_never_holds_half_of_one(tmp_path):
    FolderSink(tmp_path).write("a", b"old")

    def break_off():
        with FolderSink(tmp_path).open("a") as file:
            file.write(b"ha")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
    FolderSink(tmp_path).write("a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_zip_packs_only_what_shrinks():
    stream = io.BytesIO()
    with ZipSink(stream) as sink:
        sink.write("a.json", b"[]" * 500)
        sink.write("a.PNG", b"[]" * 500)
    packed, stored = zipfile.ZipFile(stream).infolist()
    assert (packed.compress_type, stored.compress_type) == (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    assert packed.date_time == stored.date_time == (1980, 1, 1, 0, 0, 0)


class Void(Sink):
    """Drops everything but the last file."""

    def open(self, name):
        self.last = io.BytesIO()
        self.last.close = lambda: None
        return self.last

    def close(self):
        pass


@pytest.mark.parametrize("format_name", sorted(set(FORMATS) - {"huggingface"}))
def test_memory_does_not_grow_with_the_number_of_photos(format_name, make_item):
    """Photos may add the names that must be kept apart, and nothing of their masks."""
    item = make_item(height=30, width=40)
    with open_writer(format_name, Void(), VOC, ExportOptions(images=False)) as writer:
        writer.add(item)
        tracemalloc.start()
        for number in range(200):
            writer.add(LabelledItem(f"{number}.jpg", item.result, item.pseudo_mask, load_cams=item.load_cams))
        gc.collect()
        # pathlib interns the parts of names; when Python's table of such strings doubles, that is nobody's leak.
        traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, pathlib.__file__)])
        tracemalloc.stop()
    assert sum(line.size for line in traces.statistics("filename")) < 200 * 200


def test_a_long_list_comes_out_of_its_spool_whole(make_item):
    item, sink = make_item(height=30, width=40), Void()
    with open_writer("coco", sink, VOC, ExportOptions(images=False)) as writer:
        for number in range(500):
            writer.add(LabelledItem(f"{number}.jpg", item.result, item.pseudo_mask))
    document = json.loads(sink.last.getvalue())
    assert [image["id"] for image in document["images"]] == list(range(1, 501))
    assert [annotation["id"] for annotation in document["annotations"]] == list(range(1, 1001))
    assert np.unique([annotation["image_id"] for annotation in document["annotations"]]).size == 500
