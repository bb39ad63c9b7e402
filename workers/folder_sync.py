"""A folder of this machine and what of it is in the object store, so that another machine can go on with it."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from toco.jobs.store import Store
from toco.model.whole_file import write_whole

_UNFINISHED = frozenset({".tmp", ".partial", ".part"})  # files that take their place when they are whole


class FolderSync:
    """Keeps a copy of a folder in the object store.

    Every file of the folder appears whole, and what refers to another file appears after it; the copy keeps to that.

    Args:
        store: where the copy is.
        prefix: of its keys.
        folder: on this machine.
        without: names of files that nobody goes on from.
    """

    def __init__(self, store: Store, prefix: str, folder: Path, *, without: frozenset[str] = frozenset()) -> None:
        self._store = store
        self._prefix = prefix
        self._folder = folder
        self._without = without
        self._stored: dict[str, tuple[int, int]] = {}  # state of each file as it was stored

    def fetch(self) -> None:
        """Fill the folder with what is stored. Raises StorageUnavailable."""
        for found in sorted(self._store.under(self._prefix), key=lambda found: (found.modified, found.key)):
            name = found.key.removeprefix(self._prefix)
            write_whole(self._folder / name, self._store.get(found.key))
            self._stored[name] = _state(self._folder / name)

    def push(self, before: Callable[[], None] = lambda: None) -> int:
        """Store what is new or changed, the oldest first, and delete what is gone.

        Args:
            before: called once it is settled what is stored, before any of it is: what was told before a file was
                written can be noted first.

        Returns:
            How many files were stored.

        Raises:
            StorageFull, StorageUnavailable
        """
        kept = (path for path in self._folder.rglob("*") if self._is_kept(path))
        files = {path.relative_to(self._folder).as_posix(): path for path in kept}
        states = {}
        for name, path in files.items():
            with suppress(FileNotFoundError):  # deleted since it was listed
                states[name] = _state(path)
        changed = sorted((name for name in states if self._stored.get(name) != states[name]), key=states.__getitem__)
        with ExitStack() as stack:
            opened: dict[str, IO[bytes]] = {}
            for name in changed:
                with suppress(FileNotFoundError):
                    opened[name] = stack.enter_context(files[name].open("rb"))
            if opened:
                before()
            for name, file in opened.items():
                self._store.put(f"{self._prefix}{name}", file)
                self._stored[name] = states[name]
        gone = self._stored.keys() - states.keys()
        self._store.delete([f"{self._prefix}{name}" for name in gone])
        for name in gone:
            del self._stored[name]
        return len(opened)

    def _is_kept(self, path: Path) -> bool:
        hidden = path.name.startswith(".") or path.name in self._without
        return not hidden and path.suffix not in _UNFINISHED and path.is_file()


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
