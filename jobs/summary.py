"""The figures of a label by which people find the ones that deserve a look."""

from collections.abc import Mapping

from toco.jobs.job import Summary
from toco.model.formats.result import ItemResult


def summarise(result: ItemResult, artifacts: Mapping[str, int], timings: Mapping[str, float]) -> Summary:
    """Return what lists show of a labelled item.

    Args:
        result: the description of the label.
        artifacts: size in bytes by name, as they were stored.
        timings: seconds a stage, those outside the model included.
    """
    return Summary(
        tags=result.tags,
        tag_source=result.tag_source,
        words=result.words,
        open_tags=result.open_tags,
        empty_tags=result.empty_tags,
        classes=tuple(entry.model_dump() for entry in result.classes),
        ignore_ratio=result.ignore_ratio,
        area_ratio=min(1.0, sum(entry.area_ratio for entry in result.classes)),
        score=min((entry.score for entry in result.classes), default=0.0),
        doubt=result.doubt,
        fingerprint=result.fingerprint,
        width=result.size.width,
        height=result.size.height,
        artifacts=dict(sorted(artifacts.items())),
        timings={stage: round(seconds, 6) for stage, seconds in timings.items()},
    )
