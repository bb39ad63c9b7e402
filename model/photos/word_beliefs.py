"""How much a photo seems to show a word that no classifier knows, as the other photos teach it.

The photos' own tags are all there is to learn from, and they are what is doubted: so no photo is judged by what it
taught itself. The photos are parted in five; each part is judged by a logistic regression fitted to the other four.
Photos that look alike stay together, or a wrong tag would be borne out by its copy.

References:
    Northcutt, Jiang, Chuang, "Confident Learning" (2021): out-of-sample probabilities by cross-validation; Platt,
    "Probabilistic Outputs for Support Vector Machines" (1999): decisions made probabilities by a fit in one dimension.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

PARTS: Final = 5

_STRENGTH: Final = 3e-3  # inverse of the penalty: one tag in ten may be wrong, and must not be learnt by heart
_TAUGHT_BY: Final = 1_000  # photos with and without the word, each, that a fit sees at most: its time is bounded


class Taught(NamedTuple):
    """What photos teach of a word.

    Attributes:
        beliefs: (n,) float64 in 0..1, that a photo shows it; one half says nothing.
        recognised: how often a photo that has the word is believed to show it more than one that has not; chance is
            one half.
    """

    beliefs: npt.NDArray[np.float64]
    recognised: float


def taught(
    looks: npt.NDArray[np.floating[Any]], tagged: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64]
) -> Taught:
    """Return what photos teach of a word, each judged by the others.

    Args:
        looks: (n, d) what an encoder sees in each photo; see `ExaminedPhoto`.
        tagged: (n,) whether the photo has the word; some do and some do not.
        groups: (n,) number of the group of photos that look alike.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - seconds of imports, and the doctor's alone
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - seconds of imports, and the doctor's alone
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - seconds of imports, and the doctor's alone
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - seconds of imports, and the doctor's alone

    looks, decisions, chance = looks.astype(np.float64), np.zeros((len(tagged), 1)), np.random.default_rng(0)
    part = _parts(tagged, groups, chance)
    for number in range(PARTS):
        teaching, judged = np.flatnonzero(part != number), part == number
        sides = teaching[tagged[teaching]], teaching[~tagged[teaching]]
        if judged.any() and all(map(len, sides)):
            rows = np.concatenate([chance.permutation(side)[:_TAUGHT_BY] for side in sides])
            fit = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, class_weight="balanced"))
            decisions[judged, 0] = fit.fit(looks[rows], tagged[rows]).decision_function(looks[judged])
    believed = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")).fit(decisions, tagged)
    return Taught(believed.predict_proba(decisions)[:, 1], float(roc_auc_score(tagged, decisions[:, 0])))


def _parts(
    tagged: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64], chance: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the part (n,) of each photo: groups stay whole; those with the word are spread evenly, and the others."""
    names, group = np.unique(groups, return_inverse=True)
    has = np.bincount(group, weights=tagged) > 0
    part = np.zeros(len(names), np.int64)
    for side in (has, ~has):
        part[side] = chance.permutation(int(side.sum())) % PARTS
    return part[group]
