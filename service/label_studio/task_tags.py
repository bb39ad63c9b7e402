"""The tags of a Label Studio task: found wherever annotators may have left them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toco.model.photos.tags import split_tags

Json = Mapping[str, Any]


def find_tags(task: Json, *, key: str, context: Json | None = None) -> tuple[str, ...] | None:
    """Return a task's tags as written, or None where nobody tagged it.

    The freshest statement counts alone, since annotators take tags off too: what the open editor holds (its choices,
    and the labels of its regions), drafts, annotations, the task's data, and last the choices of other predictions.

    Args:
        task: as Label Studio sends it: `data`, `annotations`, `predictions`, `drafts`.
        key: of the tags in `data`; `meta.tags` reaches into an object.
        context: of interactive mode: `result` holds the editor's regions.
    """
    sources = (
        _of_regions((context or {}).get("result"), labels_too=True),
        *(_of_regions(draft.get("result")) for draft in reversed(_objects(task.get("drafts")))),
        *(_of_regions(annotation.get("result")) for annotation in reversed(_objects(task.get("annotations")))),
        _of_value(_reach(task.get("data"), key)),
        *(_of_regions(prediction.get("result")) for prediction in reversed(_objects(task.get("predictions")))),
    )
    return next((tags for tags in sources if tags), None)


def value_of(task: Json, key: str) -> Any:
    """Return a value of a task's data by its key, dotted for objects; None where there is none."""
    return _reach(task.get("data"), key)


def _reach(data: Any, key: str) -> Any:
    if not isinstance(data, Mapping):
        return None
    if key in data:
        return data[key]
    first, _, rest = key.partition(".")
    return _reach(data.get(first), rest) if rest else None


def _of_value(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_tags(value)
    if isinstance(value, Mapping):  # what an exported choice looks like
        return _of_value(value.get("choices"))
    if isinstance(value, Sequence):
        found = (part for entry in value for part in ([entry] if isinstance(entry, str) else _of_value(entry)))
        return tuple(dict.fromkeys(tag.strip() for tag in found if tag.strip()))
    return ()


def _of_regions(result: Any, *, labels_too: bool = False) -> tuple[str, ...]:
    found: list[str] = []
    for region in _objects(result):
        value = region.get("value")
        if isinstance(value, Mapping):
            for name, entries in value.items():
                if name == "choices" or (labels_too and name.endswith("labels")):
                    found += _strings(entries)
    return tuple(dict.fromkeys(found))


def _strings(entries: Any) -> Iterator[str]:
    if isinstance(entries, Sequence) and not isinstance(entries, str):
        yield from (entry for entry in entries if isinstance(entry, str))


def _objects(value: Any) -> list[Json]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
