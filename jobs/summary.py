"""The figures of a label by which people find the ones that deserve a look."""

from collections.abc import Mapping

from toco.jobs.job import Summary
from toco.model.formats.result import ItemResult


def doubt(result: ItemResult) -> float:
    """Return 0 (surely fine) to 1 (look at it first).

    A mask that a person made is not doubted. A photo with a word that was not understood is doubted in full. Else it
    is the worst of three signs: pixels that the pseudo mask leaves open, a tag whose CAM is weak where the mask shows
    it (a tag that the mask does not show at all scores 0), and a tag that the classifier itself does not see.
    """
    if result.by_person:
        return 0.0
    if result.open_tags:
        return 1.0
    if not result.classes:
        return 1.0 if result.tag_source == "model" else 0.0
    weakest = min(entry.score for entry in result.classes)
    unseen = 1.0 - min(entry.tag_probability for entry in result.classes)
    return max(result.ignore_ratio, 1.0 - weakest, unseen)


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
        doubt=doubt(result),
        width=result.size.width,
        height=result.size.height,
        artifacts=dict(sorted(artifacts.items())),
        timings={stage: round(seconds, 6) for stage, seconds in timings.items()},
    )
