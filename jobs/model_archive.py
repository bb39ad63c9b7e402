"""A model folder as one zip: what is stored, sent, and unpacked into a models folder again."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from toco.model.learning.learnt_spec import (
    LEARNT_FILE,
    WORDS_FILE,
    WordReport,
    is_learnt_model,
    labeler_spec,
    read_learnt_spec,
)
from toco.model.spec import SPEC_FILE, WEIGHTS_FILE, ModelSpec, read_spec

_DATE: Final = (2020, 1, 1, 0, 0, 0)  # of every file, so that the same model is the same zip


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model folder under a name of its own, ready to be packed.

    Attributes:
        spec: as lists of models show it.
        encoder: of learnt words: which encoder they stand on; else empty.
        words: of learnt words: how well each was learnt.
        digest: of its description, which names the digest of its weights.
        description: name of its JSON file, and the text.
        weights: the other file.
    """

    spec: ModelSpec
    encoder: str
    words: tuple[WordReport, ...]
    digest: str
    description: tuple[str, str]
    weights: Path


def named_model(name: str, folder: Path) -> NamedModel:
    """Read a model folder, whole or of learnt words, as if it had been called `name`.

    Raises:
        InvalidCheckpoint, InvalidLearntModel: the folder is none.
    """
    if is_learnt_model(folder):
        learnt = read_learnt_spec(folder).model_copy(update={"name": name})
        text = learnt.model_dump_json(indent=2)
        return NamedModel(
            labeler_spec(learnt), learnt.encoder, learnt.words, _digest(text), (LEARNT_FILE, text), folder / WORDS_FILE
        )
    spec = read_spec(folder).model_copy(update={"name": name})
    text = spec.model_dump_json(indent=2)
    return NamedModel(spec, "", (), _digest(text), (SPEC_FILE, text), folder / WEIGHTS_FILE)


def pack(model: NamedModel, file: IO[bytes]) -> None:
    """Write a model as a zip of one folder, which bears its name.

    Raises:
        OSError: its weights cannot be read.
    """
    name, text = model.description
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{model.spec.name}/{name}", _DATE), f"{text}\n")
        entry = zipfile.ZipInfo(f"{model.spec.name}/{model.weights.name}", _DATE)
        entry.file_size = model.weights.stat().st_size
        with model.weights.open("rb") as weights, archive.open(entry, "w") as target:
            while piece := weights.read(1024 * 1024):
                target.write(piece)


def unpack(file: IO[bytes], folder: Path) -> None:
    """Write the files of a zip that `pack` made into a folder."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as packed, (folder / Path(entry.filename).name).open("wb") as target:
                while piece := packed.read(1024 * 1024):
                    target.write(piece)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
