"""What learning gives: a small model of words on top of a frozen encoder, as a folder of safetensors and JSON."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from toco.model.errors import InvalidOption, TocoError
from toco.model.options import VOC_THRESHOLDS, Frozen, Thresholds
from toco.model.photos.classes import ClassName, Vocabulary

LEARNT_FILE = "learnt.json"
WORDS_FILE = "words.safetensors"

Standing = Literal["learnt", "too_few_photos", "not_told_apart", "not_found"]


class InvalidLearntModel(TocoError):
    """A folder of a learnt model is missing, damaged, or of another encoder."""

    code = "invalid_learnt_model"
    kind = "invalid"


class WordReport(Frozen):
    """How well a word was learnt.

    Attributes:
        word: as tagged.
        photos: of the job that show it.
        alone: of them, how many show nothing else.
        learnt_from: how many of them the fit saw.
        standing: `learnt`; any other word is left open, since nothing can be said of it: it has `too_few_photos`, it
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
        return self.standing == "learnt"


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


@dataclass(frozen=True, slots=True)
class LearntModel:
    """Words on a frozen encoder.

    Attributes:
        spec: what they are and where they come from.
        weight: (1 + C, d) float32; row 0 is background.
        bias: (1 + C,) float32.
    """

    spec: LearntSpec
    weight: Tensor
    bias: Tensor


def save_learnt_model(folder: Path, model: LearntModel) -> LearntModel:
    """Write a learnt model; the spec comes last, so that a half-written folder is none.

    Returns:
        The model with its digest filled in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = save({"weight": model.weight.contiguous(), "bias": model.bias.contiguous()})
    spec = model.spec.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    for name, content in ((WORDS_FILE, data), (LEARNT_FILE, f"{spec.model_dump_json(indent=2)}\n".encode())):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return LearntModel(spec, model.weight, model.bias)


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


def load_learnt_model(folder: Path) -> LearntModel:
    """Read a learnt model strictly; nothing is ever unpickled.

    Raises:
        InvalidLearntModel: missing parts, a wrong digest, or weights that do not fit the spec.
    """
    spec = read_learnt_spec(folder)
    path = folder / WORDS_FILE
    try:
        data = path.read_bytes()
        state = load(data)
    except (OSError, SafetensorError) as error:
        raise InvalidLearntModel(f"Cannot read {str(path)!r}: {error}.", fix="Copy the whole folder.") from None
    if hashlib.sha256(data).hexdigest() != spec.weights_sha256:
        raise InvalidLearntModel(f"{str(path)!r} is not the file that its spec names.", fix="Learn it again.")
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    outputs = 1 + len(spec.classes)
    if shapes != {"weight": (outputs, spec.width), "bias": (outputs,)} or len(spec.words) != len(spec.classes):
        raise InvalidLearntModel(f"{str(path)!r} holds {shapes} for {len(spec.classes)} words.", fix="Learn it again.")
    return LearntModel(spec, state["weight"].to(torch.float32), state["bias"].to(torch.float32))
