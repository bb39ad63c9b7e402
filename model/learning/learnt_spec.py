"""The description of a learnt model: words on top of a frozen encoder, and how well each was learnt. Needs no torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from toco.model.errors import InvalidOption, TocoError
from toco.model.learning.settings import ReportSettings
from toco.model.options import VOC_THRESHOLDS, Frozen, Thresholds
from toco.model.photos.classes import MAX_CLASSES, ClassName, Vocabulary
from toco.model.spec import BackboneSpec, ModelSpec

LEARNT_FILE = "learnt.json"
WORDS_FILE = "words.safetensors"

Standing = Literal["learnt", "weak", "too_few_photos", "not_told_apart", "not_found"]


class InvalidLearntModel(TocoError):
    """A folder of a learnt model is missing, damaged, or of another encoder."""

    code = "invalid_learnt_model"
    kind = "invalid"


class TagsNeeded(TocoError):
    """A photo without tags, and a model that has no classifier to find any."""

    code = "tags_needed"
    kind = "invalid"


class WordReport(Frozen):
    """How well a word was learnt.

    Attributes:
        word: as tagged.
        photos: of the job that show it.
        alone: of them, how many show nothing else.
        learnt_from: how many of them the fit saw.
        standing: `learnt`, or `weak`: labelled and doubted, since it seldom shows alone and what stands beside it may
            be taken for it. Any other word is left open, since nothing can be said of it: it has `too_few_photos`, it
            is `not_told_apart` from words that always come with it, or it was `not_found` in its photos.
        area: mean share (0..1) of its photos that it owns in the fit.
        margin: how much more of it there is in photos that show it than in others, in standard deviations.
        recognised: how often (0..1) a photo that shows it has more of it than one that does not; chance is one half.
            Both are measured on photos that the fit did not see where there are any.
        together_with: words that come with it nearly always.
    """

    word: str
    photos: int
    alone: int
    learnt_from: int
    standing: Standing
    area: float
    margin: float
    recognised: float
    together_with: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether pixels may be given to the word."""
        return self.standing in ("learnt", "weak")


class LearntSpec(Frozen):
    """Describes one learnt model; the JSON beside its weights.

    Attributes:
        format: version of this layout.
        name: under which it is listed.
        classes: its words in the order of the weights, with mask indices and synonyms.
        encoder: digest of the reader whose tokens were learnt from (see `tokens.TokenReader`).
        side: of the square that photos are resized to before they are read.
        width: of the tokens.
        temperature: factor of the scores.
        thresholds: of the label rules.
        words: how well each word was learnt, in the same order.
        learnt_from: counts of photos and tokens, settings, seconds (free-form).
        weights_sha256: hex digest of the weights file.
    """

    format: Literal[1] = 1
    name: str
    classes: tuple[ClassName, ...]
    encoder: str
    side: Annotated[int, Field(ge=14)]
    width: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(gt=0.0)]
    thresholds: Thresholds = VOC_THRESHOLDS
    words: tuple[WordReport, ...]
    learnt_from: dict[str, Any] = {}
    weights_sha256: str = ""

    @property
    def vocabulary(self) -> Vocabulary:
        """The words as a vocabulary."""
        return Vocabulary(self.classes)

    @property
    def version(self) -> str:
        """Name and the first 12 hex digits of the weights' digest."""
        return f"{self.name}@{self.weights_sha256[:12]}"

    @property
    def usable(self) -> frozenset[str]:
        """The words that pixels may be given to; all others are left open."""
        return frozenset(report.word for report in self.words if report.usable)

    @property
    def weak(self) -> frozenset[str]:
        """The words whose pixels are doubted."""
        return frozenset(report.word for report in self.words if report.standing == "weak")


def is_learnt_model(folder: Path) -> bool:
    """Tell a folder of a learnt model from that of a whole one."""
    return (folder / LEARNT_FILE).is_file()


def read_learnt_spec(folder: Path) -> LearntSpec:
    """Read the description of a learnt model without its weights.

    Raises:
        InvalidLearntModel: it is not there, or does not fit.
    """
    path = folder / LEARNT_FILE
    try:
        return LearntSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidLearntModel(
            f"Cannot read {str(path)!r}: {error.strerror}.", fix="Copy the whole folder."
        ) from None
    except (ValidationError, InvalidOption) as error:
        raise InvalidLearntModel(
            f"{str(path)!r} is no description of a learnt model ({type(error).__name__}).", fix="Learn it again."
        ) from None


def encoder_digest(spec: ModelSpec) -> str:
    """Return how learnt models name the encoder of a model: by the digest of its weights, and its input size."""
    return f"{spec.weights_sha256}-{spec.input_size}"


def labeler_spec(spec: LearntSpec, backbone: BackboneSpec | None = None) -> ModelSpec:
    """Describe a learnt model as the pipeline, its results and lists of models want it.

    Args:
        spec: of the words.
        backbone: of their encoder, where it is at hand.
    """
    return ModelSpec(
        name=spec.name,
        backbone=backbone or BackboneSpec(name="learnt words"),
        classes=spec.classes,
        input_size=spec.side,
        thresholds=spec.thresholds,
        licence="of the encoder",
        provenance={"encoder": spec.encoder, **spec.learnt_from},
        figures={report.word: report.model_dump() for report in spec.words},
        weights_sha256=spec.weights_sha256,
    )


def require_tags(model: str, tags: Sequence[object] | None) -> None:
    """Refuse a photo whose tags a model of learnt words would have to find.

    Args:
        model: its name.
        tags: of the photo; None where a classifier is to choose.

    Raises:
        TagsNeeded
    """
    if tags is None:
        raise TagsNeeded(
            f"{model!r} knows learnt words alone and finds no tags by itself.",
            fix="Tag the photo, or name another model.",
        )


def numbered_words(spec: LearntSpec, known: Vocabulary) -> Vocabulary:
    """Return a learnt model's words with the mask indices of a model's own classes; new ones take those after them.

    Raises:
        InvalidOption: a mask cannot hold that many classes.
    """
    free = iter([index for index in range(1, MAX_CLASSES + 1) if index > max(known.indices)])
    classes = []
    for entry in spec.classes:
        index = known.classes[known.channel(entry.name)].index if entry.name in known else next(free, 0)
        classes.append(ClassName(entry.name, index, entry.synonyms))
    return Vocabulary(classes)


def job_vocabulary(spec: LearntSpec, known: Vocabulary) -> Vocabulary:
    """Return the classes of a job that learnt words beside those that its model knows.

    Words that could not be learnt are not among them: whatever may show them is left open.

    Raises:
        InvalidOption: a mask cannot hold that many classes.
    """
    new = [entry for entry in numbered_words(spec, known) if entry.name not in known and entry.name in spec.usable]
    return Vocabulary((*known.classes, *new))


def report_lines(words: Iterable[WordReport], known: Vocabulary | frozenset[str] = frozenset()) -> list[str]:
    """Return a line a learnt word: its photos, how well it was told apart, or why it is left open.

    Args:
        words: as learning reports them.
        known: the encoder's own classes, of which nothing is said.
    """
    return [_line(word) for word in words if word.word not in known]


def _line(word: WordReport) -> str:
    if word.standing == "learnt":
        said = f"learnt, recognised in {word.recognised:.0%} of its photos"
    elif word.standing == "weak":
        said = "learnt weakly, what stands beside it may be taken for it: look at its masks"
    elif word.together_with:
        said = f"left open: it always comes with {', '.join(word.together_with)}"
    elif word.standing == "too_few_photos":
        said = f"left open: fewer than {ReportSettings().least_photos} photos"
    else:
        said = "left open: not found in its photos"
    photos = f"{word.photos} photo{'' if word.photos == 1 else 's'}"
    return f"{word.word}: {photos}, {word.alone} with nothing else; {said}"
