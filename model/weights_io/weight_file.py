"""The weights of a model folder as a file: there, and what its spec says. Knows no torch."""

import hashlib
from pathlib import Path

from toco.model.spec import WEIGHTS_FILE, InvalidCheckpoint, ModelSpec


def checked_weights(folder: Path, spec: ModelSpec) -> Path:
    """Return the file of a model folder's weights.

    Raises:
        InvalidCheckpoint: it is missing, or not what the spec says.
    """
    path = folder / WEIGHTS_FILE
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidCheckpoint(f"Cannot read {str(path)!r}: {error.strerror}.", fix="Copy the whole folder.") from None
    if digest != spec.weights_sha256:
        raise InvalidCheckpoint(
            f"{str(path)!r} has SHA-256 {digest[:12]}..., its spec says {spec.weights_sha256[:12]}...",
            fix="The file is damaged or was changed: fetch or train it again.",
        )
    return path
