"""What a person may do about a finding: a change of tags or a verdict, ready to be sent, and whether it is still due.

Nothing here is carried out by itself. A cure is worked out from the items as they are now, not as the doctor saw them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toco.jobs.job import ItemRecord
from toco.model.photos.classes import fold
from toco.model.photos.tag_doctor import Finding


@dataclass(frozen=True, slots=True)
class Cure:
    """A request to the API.

    Attributes:
        says: what it does, a sentence.
        item: that it changes.
        tags: to give to it (`PATCH .../tags`), as written; None rejects its label instead (`PATCH` of the item).
    """

    says: str
    item: ItemRecord
    tags: tuple[str, ...] | None

    @property
    def path(self) -> str:
        """Path of the request."""
        here = f"/v1/jobs/{self.item.job}/items/{self.item.id}"
        return here if self.tags is None else f"{here}/tags"

    @property
    def body(self) -> dict[str, Any]:
        """JSON body of the request."""
        return {"decision": "reject"} if self.tags is None else {"tags": list(self.tags)}


def cures(finding: Finding, items: Sequence[ItemRecord]) -> list[Cure]:
    """Return what may be done about a finding; nothing where it is settled, or where more photos alone help.

    Args:
        finding: of the doctor.
        items: those of its photos that are still there, as they are now.
    """
    match finding.kind:
        case "wrong_tag":
            return [_without(item, finding.tag) for item in items if fold(finding.tag) in map(fold, tags_of(item))]
        case "missing_tag":
            return [
                Cure(f"Tag {item.name!r} with {finding.tag!r}.", item, (*words_of(item), finding.tag))
                for item in items
                if fold(finding.tag) not in map(fold, tags_of(item))
            ]
        case "looks_alike":
            return _of_doubles([item for item in items if item.decision != "reject"])
        case "too_dark" | "too_small":
            kept = [item for item in items if item.decision != "reject"]
            return [Cure(f"Reject {item.name!r}.", item, None) for item in kept]
        case "always_together" | "too_few" | "not_checked":
            return []


def _without(item: ItemRecord, tag: str) -> Cure:
    left = without_tag(item, tag)
    then = "." if left else ": it shows none of the classes then, and all of its label is background."
    return Cure(f"Take {tag!r} off {item.name!r}{then}", item, left)


def _of_doubles(items: Sequence[ItemRecord]) -> list[Cure]:
    """Offer the tags of all to those that lack some; where the tags agree, offer to reject all but the first."""
    if len(items) < 2:
        return []
    together: dict[str, str] = {}
    for tag in (tag for item in items for tag in tags_of(item)):
        together.setdefault(fold(tag), tag)
    has = {item.id: set(map(fold, tags_of(item))) for item in items}
    lacking = {item.id: [tag for folded, tag in together.items() if folded not in has[item.id]] for item in items}
    if any(lacking.values()):
        return [
            Cure(
                f"Tag {item.name!r} with {', '.join(map(repr, lacking[item.id]))} too.",
                item,
                (*words_of(item), *lacking[item.id]),
            )
            for item in items
            if lacking[item.id]
        ]
    return [Cure(f"Reject {item.name!r}: {items[0].name!r} stays.", item, None) for item in items[1:]]


def tags_of(item: ItemRecord) -> tuple[str, ...]:
    """Return an item's tags as the doctor sees them: class names, and words that were not understood."""
    summary = item.summary
    return () if summary is None else (*summary.tags, *summary.open_tags)


def words_of(item: ItemRecord) -> tuple[str, ...]:
    """Return an item's tags as they are written; those that the classifier chose where nobody wrote any."""
    return tags_of(item) if item.tags is None else item.tags


def without_tag(item: ItemRecord, tag: str) -> tuple[str, ...]:
    """Return an item's tags as they are written, without the words that mean a tag."""
    summary = item.summary
    meant = {word.written: word.understood or word.written for word in (summary.words if summary else ())}
    return tuple(word for word in words_of(item) if fold(meant.get(word, word)) != fold(tag))
