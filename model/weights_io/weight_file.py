"""The weights of a model folder as bytes: there, and what its spec says. Knows no torch."""

import hashlib
from pathlib import Path

from toco.model.spec import WEIGHTS_FILE, InvalidCheckpoint, ModelSpec


def checked_weights(folder: Path, spec: ModelSpec) -> bytes:
    """Return a model folder's weights as they are stored; the file may be another by the time it is looked at again.

    Raises:
        InvalidCheckpoint: it is missing, or not what the spec says.
    """
    path = folder / WEIGHTS_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidCheckpoint(f"Cannot read {str(path)!r}: {error.strerror}.", fix="Copy the whole folder.") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != spec.weights_sha256:
        raise InvalidCheckpoint(
            f"{str(path)!r} has SHA-256 {digest[:12]}..., its spec says {spec.weights_sha256[:12]}...",
            fix="The file is damaged or was changed: fetch or train it again.",
        )
    return data
