"""What the places of a photo show, by a learnt model: background or object, and which of the photo's words."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from toco.model.learning.fit import word_probabilities
from toco.model.learning.learnt_model import LearntModel
from toco.model.learning.prior import joined
from toco.model.learning.tokens import PhotoTokens

_EPSILON = 1e-4


class Recognised(NamedTuple):
    """What is seen in a photo of K words, on a token grid of h x w.

    Attributes:
        objects: (h * w,) in 0..1, whether there is an object.
        words: (h * w, K), which of the photo's words it is; sums to 1 over K.
    """

    objects: Tensor
    words: Tensor


def recognise(found: PhotoTokens, model: LearntModel, channels: Sequence[int]) -> Recognised:
    """Recognise a photo's words in its tokens.

    Whether there is an object is the joined opinion of prior and fit. Which one it is says the fit alone, of words that
    the network knows as well: its own opinion beside made labels of photos with several words worse.

    Args:
        found: tokens of the photo.
        model: the words.
        channels: K words of the photo, 0-based; at least one.
    """
    rows = [0, *(channel + 1 for channel in channels)]
    fitted = word_probabilities(found.tokens, model.weight, model.bias, model.spec.temperature)[:, rows] + _EPSILON
    fitted = fitted / fitted.sum(dim=1, keepdim=True)
    objects = joined([found.prior, 1.0 - fitted[:, 0]])
    return Recognised(objects, fitted[:, 1:] / fitted[:, 1:].sum(dim=1, keepdim=True))
