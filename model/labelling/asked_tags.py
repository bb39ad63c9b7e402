"""The tags that a photo is to be labelled with: from written words to classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from toco.model.photos.classes import Vocabulary
from toco.model.photos.tag_check import UnknownTags, check_tags, settle_unknown
from toco.model.photos.understanding import NO_MAPPING, Mapped, UnderstoodTag, understand_all


@dataclass(frozen=True, slots=True)
class AskedTags:
    """What is to be labelled.

    Attributes:
        channels: classifier channels, sorted; empty for a photo of nothing known; None lets the classifier choose.
        words: each tag as written, and as understood.
    """

    channels: tuple[int, ...] | None
    words: tuple[UnderstoodTag, ...] = ()

    @property
    def has_open(self) -> bool:
        """Whether a word is not understood: what it may own is left open."""
        return any(word.is_open for word in self.words)


def asked_tags(
    tags: Sequence[str] | None, vocabulary: Vocabulary, *, policy: UnknownTags = "open", mapping: Mapped = NO_MAPPING
) -> AskedTags:
    """Find the classes that a photo's tags mean.

    A photo whose every word is to be ignored counts as one without tags: the classifier chooses.

    Args:
        tags: as written; empty for a photo of nothing known; None lets the classifier choose.
        vocabulary: the model's classes.
        policy: `refuse` raises; the others leave words open that are not understood.
        mapping: see `mapping.fold_mapping`.

    Raises:
        UnknownTag: names every word that is not understood.
    """
    if tags is None:
        return AskedTags(None)
    if policy == "refuse":
        settle_unknown(policy, check_tags([tags], vocabulary, mapping))
    words = understand_all(tags, vocabulary, mapping)
    known = vocabulary.channels(word.understood for word in words if word.understood is not None)
    asked = AskedTags(known, words)
    return asked if known or asked.has_open or not words else AskedTags(None, words)
