"""One vocabulary for masks of several models."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidOption
from toco.model.photos.classes import BACKGROUND, IGNORE, MAX_CLASSES, ClassName, Vocabulary, fold

Recode = npt.NDArray[np.uint8]
"""(256,) uint8: the joined index of each index of a mask."""


def join_vocabularies(vocabularies: Sequence[Vocabulary]) -> tuple[Vocabulary, list[Recode | None]]:
    """Join the classes of several vocabularies by their names.

    Classes of one name are one class. The first vocabulary keeps its indices; a class that it lacks keeps its own index
    where that is free, and gets the lowest free one otherwise.

    Args:
        vocabularies: at least one.

    Returns:
        The joined vocabulary, and for each one how its masks are recoded; None where they stay as they are.

    Raises:
        InvalidOption: together they have more classes than masks can hold.
    """
    first = vocabularies[0]
    if all(other.classes == first.classes for other in vocabularies):
        return first, [None] * len(vocabularies)
    joined = {fold(entry.name): ClassName(entry.name, entry.index) for entry in first}
    taken = {entry.index for entry in joined.values()}
    recodes: list[Recode | None] = []
    for vocabulary in vocabularies:
        recode = np.full(256, IGNORE, np.uint8)
        recode[BACKGROUND] = BACKGROUND
        for entry in vocabulary:
            if fold(entry.name) not in joined:
                free = (index for index in (entry.index, *range(1, MAX_CLASSES + 1)) if index not in taken)
                index = next(free, None)
                if index is None:
                    raise InvalidOption(
                        f"The jobs have more than {MAX_CLASSES} classes together.", fix="Export them apart."
                    )
                taken.add(index)
                joined[fold(entry.name)] = ClassName(entry.name, index)
            recode[entry.index] = joined[fold(entry.name)].index
        same = all(recode[entry.index] == entry.index for entry in vocabulary)
        recodes.append(None if same else recode)
    return Vocabulary(joined.values()), recodes
