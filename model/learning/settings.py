"""Every constant of learning words from a job's own photos."""

from typing import Annotated

from pydantic import Field, model_validator

from toco.model.options import Frozen, Share

Positive = Annotated[float, Field(gt=0.0)]


class FitSettings(Frozen):
    """How words are fitted to tokens.

    Attributes:
        rounds: of the alternation between fitting the words to labels and labels to the words.
        steps: of Adam a round.
        batch: tokens a step.
        learning_rate: of Adam. Small on purpose: a fit that is sure of itself gives a photo to its likeliest word
            and learns that by heart (0.02 halves what is right where several words are in a photo).
        temperature: factor of the cosine-like scores of normalised tokens.
        weight_decay: of the word vectors; keeps words of few photos from learning single tokens by heart.
        prior_power: exponent of the objectness prior; under 1 an object may lie where the prior is doubtful, and grows
            too large where there are many photos.
        least_share: share of its photo that a tag owns at least while labels are estimated: it is there, after all.
        class_weights: bounds of the weight of a word, the inverse root of its share of all labels.
        mask_weight: how much a token of a known mask counts against one of a photo without.
        start_from_network: begin words that the network knows with its own opinion; without, all begin with the prior.
        seed: of the random tokens.
    """

    rounds: Annotated[int, Field(ge=1, le=50)] = 5
    steps: Annotated[int, Field(ge=1, le=10_000)] = 60
    batch: Annotated[int, Field(ge=64)] = 4_096
    learning_rate: Positive = 5e-4
    temperature: Positive = 20.0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    prior_power: Positive = 1.0
    least_share: Share = 0.05
    class_weights: tuple[Positive, Positive] = (0.2, 5.0)
    mask_weight: Positive = 10.0
    start_from_network: bool = True
    seed: int = 0


class SampleSettings(Frozen):
    """How many photos are learnt from. Memory is bounded by `tokens` whatever the size of the job.

    Attributes:
        photos_a_word: at most; a photo of several words counts for each.
        photos: at most in all.
        tokens: at most in all, shared evenly by the photos. 800,000 tokens of width 384 in half precision are 0.6 GiB,
            held twice while they are put together; beside what the encoder takes, learning needs under 1.6 GiB.
        least_tokens: of a photo; `photos` times this must not be more than `tokens`.
        seed: of the choice.
    """

    photos_a_word: Annotated[int, Field(ge=1)] = 300
    photos: Annotated[int, Field(ge=1)] = 8_000
    tokens: Annotated[int, Field(ge=1)] = 800_000
    least_tokens: Annotated[int, Field(ge=1)] = 100
    seed: int = 0

    @model_validator(mode="after")
    def _bounded(self) -> "SampleSettings":
        if self.photos * self.least_tokens > self.tokens:
            raise ValueError(f"{self.photos} photos of {self.least_tokens} tokens are more than {self.tokens} tokens")
        return self


class ReportSettings(Frozen):
    """When a word counts as learnt.

    Attributes:
        least_photos: a word with fewer is left open.
        together: share of the photos of either word that show the other, from which two words cannot be told apart.
        least_share: a word that owns less than this of its photos, on average, was not found.
        least_recognised: a word of which photos that show it have more than others less often than this (chance is
            one half) was not found.
        least_alone: a word that shows with nothing else in less than this share of its photos is learnt weakly: what
            stands beside it may be taken for it, and tags cannot tell.
    """

    least_photos: Annotated[int, Field(ge=1)] = 5
    together: Share = 0.95
    least_share: Share = 0.01
    least_recognised: Share = 0.65
    least_alone: Share = 0.2
