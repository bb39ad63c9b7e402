"""Names, sinks and memory: an export neither leaves its folder nor grows in memory."""

import contextlib
import gc
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from toco.model.formats.artifacts import InvalidArtifact
from toco.model.formats.item import LabelledItem, MissingPart
from toco.model.formats.registry import FORMATS, open_writer
from toco.model.formats.sink import FILE_LIST, DuplicateName, FolderSink, Sink, SubfolderSink, ZipSink
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


def test_an_item_checks_its_masks(encode, make_label):
    artifacts, other = encode(), encode(make_label(89, 120))
    item = LabelledItem("a", (artifacts | {"pseudo_mask.png": other["pseudo_mask.png"]}).get)
    with pytest.raises(InvalidArtifact, match=r"'a' has \(89, 120\).*\(90, 120\)"):
        _ = item.pseudo_mask
    colours = io.BytesIO()
    Image.new("RGB", (120, 90)).save(colours, "PNG")
    for data in (b"", b"text", artifacts["pseudo_mask.png"][:60], artifacts["overlay.jpg"], colours.getvalue()):
        item = LabelledItem("a", (artifacts | {"segmentation.png": data}).get)
        with pytest.raises(InvalidArtifact, match=r"segmentation\.png of 'a' cannot be read"):
            _ = item.segmentation
        assert item.pseudo_mask.any()


def test_a_mask_larger_than_its_result_says_is_not_decoded(encode, make_label, monkeypatch):
    monkeypatch.setattr("toco.model.photos.images._loaded", lambda *_: pytest.fail("decoded"))
    artifacts = encode() | {"pseudo_mask.png": encode(make_label(91, 120))["pseudo_mask.png"]}
    with pytest.raises(InvalidArtifact, match="pixels; the limit is"):
        _ = LabelledItem("a", artifacts.get).pseudo_mask


def test_an_item_reads_what_is_asked_for(make_item):
    with pytest.raises(InvalidArtifact, match=r"result\.json"):
        _ = LabelledItem("a", {}.get).result
    with pytest.raises(MissingPart, match=r"pseudo_mask\.png of 'cat\.jpg' was not made"):
        _ = make_item(outputs=("cam",)).pseudo_mask
    bare = make_item(outputs=("pseudo_mask",))
    assert bare.pseudo_mask is bare.pseudo_mask
    assert bare.cams is None
    with pytest.raises(MissingPart):
        _ = bare.segmentation


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
    assert {path.name for path in tmp_path.iterdir()} == {"a", FILE_LIST}
    assert (tmp_path / "a").read_bytes() == b"old"
    FolderSink(tmp_path).write("a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


LONG = "n" * 246 + ".jpg"  # 250 bytes are a legal name


def test_a_folder_takes_every_name_that_the_file_system_takes(tmp_path):
    for name in (LONG, "n" * 255, "ä" * 127):
        FolderSink(tmp_path).write(f"images/{name}", b"photo")
        assert (tmp_path / "images" / name).read_bytes() == b"photo"


def test_a_folder_drops_what_an_earlier_export_left_and_nothing_else(tmp_path):
    with FolderSink(tmp_path) as sink:
        for name in ("a", "farm/b", "farm/deep/c"):
            sink.write(name, b"old")
    (tmp_path / "notes.txt").write_text("somebody's own")
    with FolderSink(tmp_path) as sink:
        sink.write("a", b"new")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"a", "notes.txt", FILE_LIST}


def test_an_export_that_broke_off_is_tidied_up_by_the_next(tmp_path):
    with FolderSink(tmp_path) as sink:
        sink.write("old", b"")
    with contextlib.suppress(RuntimeError), FolderSink(tmp_path) as sink:
        sink.write("half", b"")
        raise RuntimeError
    assert (tmp_path / "old").exists()
    with FolderSink(tmp_path) as sink:
        sink.write("new", b"")
    assert {path.name for path in tmp_path.iterdir()} == {"new", FILE_LIST}


def test_the_list_of_files_removes_nothing_outside_the_export(tmp_path):
    (tmp_path / "precious").write_text("")
    root = tmp_path / "export"
    root.mkdir()
    (root / FILE_LIST).write_text("../precious\n/etc/hostname\n\n")
    with FolderSink(root) as sink:
        sink.write("a", b"")
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("name", [LONG, "n" * 251 + ".jpg", "n" * 255, f"{'d' * 255}/{'ä' * 127}"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_takes_a_photo_of_a_long_name(name, format_name, make_item, tmp_path):
    with FolderSink(tmp_path) as sink, open_writer(format_name, sink, VOC) as writer:
        writer.add(make_item(name))
        writer.add(make_item(name))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) >= 4


def test_a_subfolder_of_a_sink(tmp_path):
    with FolderSink(tmp_path) as sink:
        part = SubfolderSink(sink, "voc")
        part.write("a", b"1")
        with part.open("b") as file:
            file.write(b"2")
        part.close()
        sink.write("c", b"3")
    names = ("voc/a", "voc/b", "c")
    assert [(tmp_path / name).read_bytes() for name in names] == [b"1", b"2", b"3"]


def test_a_zip_packs_only_what_shrinks():
    stream = io.BytesIO()
    with ZipSink(stream) as sink:
        sink.write("a.json", b"[]" * 500)
        sink.write("a.PNG", b"[]" * 500)
    packed, stored = zipfile.ZipFile(stream).infolist()
    assert (packed.compress_type, stored.compress_type) == (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    assert packed.date_time == stored.date_time == (1980, 1, 1, 0, 0, 0)


class Void(Sink):
    """Keeps JSON files alone."""

    def __init__(self):
        self.files = {}

    def open(self, name):
        file = io.BytesIO()
        if name.endswith(".json"):
            self.files[name] = file
        file.close = lambda: None
        return file

    def close(self):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("format_name", sorted(set(FORMATS) - {"huggingface"}))
def test_memory_does_not_grow_with_the_number_of_photos(format_name, encode, make_label):
    """Photos may add the names that must be kept apart, and nothing of their masks."""
    load = encode(make_label(30, 40)).get
    held = []
    with open_writer(format_name, Void(), VOC, ExportOptions(images=False)) as writer:
        tracemalloc.start()
        for number in range(600):
            writer.add(LabelledItem(f"{number}.jpg", load))
            if number in (399, 599):  # by the first, Python and its libraries hold all that they keep for reuse
                gc.collect()
                # What this package's own lines hold, not caches of Python or pytest that grow when they like.
                traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/toco/model/*")])
                held.append(sum(line.size for line in traces.statistics("filename")))
        tracemalloc.stop()
    assert held[1] - held[0] < 200 * 200


def test_a_long_list_comes_out_of_its_spool_whole(encode, make_label):
    load, sink = encode(make_label(30, 40)).get, Void()
    with open_writer("coco", sink, VOC, ExportOptions(images=False)) as writer:
        for number in range(500):
            writer.add(LabelledItem(f"{number}.jpg", load))
    document = json.loads(sink.files["annotations/instances_train.json"].getvalue())
    assert [image["id"] for image in document["images"]] == list(range(1, 501))
    assert [annotation["id"] for annotation in document["annotations"]] == list(range(1, 1001))
    assert np.unique([annotation["image_id"] for annotation in document["annotations"]]).size == 500
