"""Archives: what they hold is listed like a folder, what means harm is refused before it is unpacked."""

import io
import tarfile
import tracemalloc
import zipfile

import pytest
from PIL import Image

from toco.model.photos.archives import ArchiveLimits, ArchiveTooLarge, InvalidArchive, open_archive
from toco.model.photos.images import UnreadableImage

LIMITS = ArchiveLimits(files=5, file_bytes=30_000_000, ratio=10)


def encoded(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    return file.getvalue()


def read_archive(file, limits=LIMITS) -> dict[str, bytes]:
    with open_archive(file, limits) as archive:
        names = [*archive.collection.photos, *(table.name for table in archive.collection.tables)]
        return {name: archive.read(name) for name in names}


def refused_in(file) -> dict[str, str]:
    with open_archive(file, LIMITS) as archive:
        assert not archive.collection.photos
        return {name: error.code for name, error in archive.collection.refused.items()}


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "C:/a.jpg", "a\x07.jpg"])
def test_entries_that_leave_the_archive_refuse_only_themselves(name):
    assert refused_in(zipped({name: b"x"})) == {name: "invalid_name"}


def test_a_bomb_is_refused_before_it_is_unpacked():
    with pytest.raises(ArchiveTooLarge, match="unpacks"):
        read_archive(zipped({"a.jpg": bytes(20_000_000)}), LIMITS)


def test_what_is_read_again_is_counted_once():
    with open_archive(zipped({"masks.json": bytes(12_000_000), "more.json": bytes(9_000_000)}), LIMITS) as archive:
        assert len(archive.read("masks.json")) == len(archive.read("masks.json")) == 12_000_000
        with pytest.raises(ArchiveTooLarge, match="unpacks"):
            archive.read("more.json")


def test_too_many_or_too_large_entries_are_refused():
    with pytest.raises(ArchiveTooLarge, match="photos"):
        read_archive(zipped({f"{n}.jpg": b"x" for n in range(6)}), LIMITS)
    with pytest.raises(ArchiveTooLarge, match="bytes"):
        read_archive(zipped({"a.jpg": bytes(99)}), ArchiveLimits(files=5, file_bytes=98, ratio=10))


def packed_tar(entry: tarfile.TarInfo, content: bytes, kind: str) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as archive:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_what_is_left_out_of_a_packed_tar_counts_too(kind):
    small, large = (packed_tar(tarfile.TarInfo("notes.txt"), bytes(size), kind) for size in (1_000_000, 60_000_000))
    assert read_archive(small, LIMITS) == {}
    with pytest.raises(ArchiveTooLarge, match="unpacks"):
        read_archive(large, LIMITS)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_unpacks_to_gigabytes_is_refused_before_it_is_read(kind):
    """`tarfile` reads long names and extended headers whole, however long they say that they are."""
    entry = tarfile.TarInfo("a.jpg")
    entry.type = kind
    file = packed_tar(entry, bytes(12_000_000), "gz")
    tracemalloc.start()
    with pytest.raises(ArchiveTooLarge, match="header"):
        read_archive(file, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_zip_of_very_many_files_is_refused_before_they_are_listed():
    file = zipped({f"{n:08d}" * 12: b"" for n in range(60_000)}, zipfile.ZIP_STORED)
    with pytest.raises(ArchiveTooLarge, match="header"):
        read_archive(file, LIMITS)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_refuse_only_themselves(kind):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a.jpg", "notes"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    assert refused_in(file) == {"a.jpg": "invalid_entry"}


def test_a_link_in_a_zip_refuses_only_itself():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("a.jpg")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert refused_in(file) == {"a.jpg": "invalid_entry"}


def test_damaged_and_encrypted_archives_are_refused():
    whole = zipped({"a.jpg": b"x" * 100}).getvalue()
    for content in (whole[:50], b"", b"PK\x03\x04", b"no archive"):
        with pytest.raises(InvalidArchive):
            read_archive(io.BytesIO(content))
    encrypted = bytearray(whole)
    encrypted[whole.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidArchive, match="encrypted"):
        read_archive(io.BytesIO(encrypted))


def test_a_damaged_entry_refuses_only_itself():
    whole = zipped({"a.jpg": b"x" * 100, "b.jpg": b"y" * 100}, zipfile.ZIP_STORED).getvalue()
    damaged = whole.replace(b"x" * 100, b"x" * 99 + b"z")
    with open_archive(io.BytesIO(damaged), LIMITS) as archive:
        assert archive.read("b.jpg") == b"y" * 100
        with pytest.raises(UnreadableImage, match=r"'a\.jpg' cannot be unpacked"):
            archive.read("a.jpg")


def packed(kind: str, entries: dict[str, bytes]) -> io.BytesIO:
    if kind == "zip":
        return zipped(entries)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


@pytest.mark.parametrize("kind", ["zip", "", "gz", "bz2", "xz"])
def test_photos_by_content_tables_and_what_is_left_out(kind):
    photo = encoded()
    entries = {"one": photo, "d/e.jpg": b"x", "photo.2024-01-15": photo, "t.csv": b"y", "notes.txt": b"z" * 40,
               "__MACOSX/a.jpg": b"x", ".b.jpg": b"x", "d/Thumbs.db": b"x", "@eaDir/one/S.jpg": photo,
               "one.json": b"{}", "tags.json": b"{}"}  # fmt: skip
    with open_archive(packed(kind, entries), LIMITS) as archive:
        found = archive.collection
        assert found.photos == ["d/e.jpg", "one", "photo.2024-01-15"]
        assert [table.name for table in found.tables] == ["t.csv", "tags.json"]
        assert found.left_out == {
            "no photo": ["notes.txt"],
            "hidden or the system's own": ["__MACOSX/a.jpg", ".b.jpg", "d/Thumbs.db", "@eaDir/one/S.jpg"],
            "a note on one photo": ["one.json"],
        }
        # In any order, each once.
        assert [archive.read(name) for name in ("photo.2024-01-15", "d/e.jpg", "one")] == [photo, b"x", photo]
        assert found.tables[0].load() == b"y"


def raw_zip(name: bytes) -> io.BytesIO:
    """A zip whose entry has these very bytes for a name."""
    plain = "n" * len(name)
    content = zipped({plain: encoded()}).getvalue().replace(plain.encode(), name)
    return io.BytesIO(content)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"cats\\1.jpg", "cats/1.jpg"),
        ("küche/größe.jpg".encode(), "küche/größe.jpg"),  # UTF-8 without the mark, as the Mac's Finder writes
        (b"caf\x82.jpg", "café.jpg"),  # code page 437, as the format says
        (b"L" * 246 + b".jpg", "L" * 246 + ".jpg"),
    ],
)
def test_names_of_other_systems(raw, name):
    with open_archive(raw_zip(raw), LIMITS) as archive:
        assert archive.collection.photos == [name]
        assert archive.read(name) == encoded()


def test_a_backslash_name_that_leaves_the_archive_is_refused():
    assert refused_in(raw_zip(b"..\\..\\a.jpg")) == {"../../a.jpg": "invalid_name"}


def test_of_two_entries_of_one_name_the_last_counts():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for content in (b"old", b"new"):
            entry = tarfile.TarInfo("a.jpg")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(content))
    with open_archive(file, LIMITS) as archive:
        assert archive.collection.photos == ["a.jpg"]
        assert "a.jpg" in str(archive.collection.notes())
        assert archive.read("a.jpg") == b"new"
