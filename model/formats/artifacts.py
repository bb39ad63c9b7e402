"""The artifacts of one item: a label as files, written and read back.

| name | content |
|---|---|
| `cam.npz` | `cams` (K, h, w) float16 in 0..1 at the working size, `names`, `indices` (K,), `size` as (H, W) |
| `heat_<tag>.jpg` | the CAM of one tag over the photo, for people |
| `pseudo_mask.png` | palette PNG, mask indices, 255 = ignore |
| `segmentation.png` | palette PNG, mask indices |
| `overlay.jpg` | the pseudo mask over the photo, for people |
| `tokens.npz` | `values` (h, w, k) int8 and `scales` (k,) float32 of `ReducedTokens`, for smart strokes |
| `result.json` | `ItemResult` |

Exports are built from these alone. The bytes depend on nothing but the label, the photo and the options.
"""

import io
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from toco.model.errors import InvalidArray, InvalidOption, TocoError
from toco.model.formats.result import ItemResult
from toco.model.method.label import Label
from toco.model.method.reduced_tokens import ReducedTokens, reduce_tokens
from toco.model.photos.palette import PALETTE
from toco.model.photos.pictures import heat_picture, overlay_picture

CAMS: Final = "cam.npz"
PSEUDO_MASK: Final = "pseudo_mask.png"
SEGMENTATION: Final = "segmentation.png"
OVERLAY: Final = "overlay.jpg"
RESULT: Final = "result.json"
TOKENS: Final = "tokens.npz"

Output = Literal["cam", "heat", "pseudo_mask", "segmentation", "overlay", "tokens"]
ALL_OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)

PICTURE_SIDE: Final = 1280
"""Longest side in pixels of the pictures for people; they are no larger than the photo was at its labelling."""

JPEG_QUALITY: Final = 90

ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that zip can hold: no bytes may depend on the clock."""

# Scores between 0.5 and 1 have this step in float16. Finer digits of smaller scores are noise, which does not compress.
CAM_STEPS: Final = 2048


_PALETTE_KIND: Final = b"\x08\x03"  # in a PNG's header: 8 bits a pixel, which are indices of the palette
_PALETTE_CHUNK: Final = len(PALETTE.tobytes()).to_bytes(4) + b"PLTE" + PALETTE.tobytes()
_PALETTE_AT: Final = 33  # in a PNG, behind signature and header


class InvalidArtifact(TocoError):
    """A stored artifact is missing, damaged or of another layout."""

    code = "invalid_artifact"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Cams:
    """Class activation maps of one photo.

    Attributes:
        names: K canonical class names.
        indices: (K,) uint8, their mask indices.
        maps: (K, h, w) float16 in 0..1 at the working size.
        size: (H, W) of the photo.
    """

    names: tuple[str, ...]
    indices: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.float16]
    size: tuple[int, int]


def heat_name(tag: str) -> str:
    """Return the file name of a tag's heat picture: `heat_traffic_light.jpg`.

    Spaces and hyphens become underscores, which keeps names of one vocabulary apart (it ignores them too); whatever
    else is no letter, digit or dot is written as its code point in hex.
    """
    spaced = re.sub(r"[\s\-_]+", "_", tag.strip())
    safe = re.sub(r"[^\w.]", lambda found: f"~{ord(found[0]):x}", spaced)
    return f"heat_{safe}.jpg"


def encode_artifacts(label: Label, *, outputs: Collection[Output] = ALL_OUTPUTS) -> dict[str, bytes]:
    """Encode a label as its artifacts, all but `result.json`, which describes them and is written last.

    Args:
        label: the label of the photo.
        outputs: the artifacts wanted; a segmentation map or tokens that were not made are left out.

    Returns:
        Bytes by artifact name.

    Raises:
        InvalidOption: an unknown output.
    """
    require_outputs(outputs)
    artifacts: dict[str, bytes] = {}
    if "cam" in outputs:
        artifacts[CAMS] = encode_cams(label)
    if "heat" in outputs:
        for tag, cam in zip(label.tags, label.cams, strict=True):
            artifacts[heat_name(tag)] = encode_jpeg(heat_picture(cam, label.photo.pixels, side=PICTURE_SIDE))
    if "pseudo_mask" in outputs:
        artifacts[PSEUDO_MASK] = encode_mask(label.pseudo_mask)
    if "segmentation" in outputs and label.segmentation is not None:
        artifacts[SEGMENTATION] = encode_mask(label.segmentation)
    if "overlay" in outputs:
        artifacts[OVERLAY] = encode_jpeg(overlay_picture(label.photo.pixels, label.pseudo_mask, side=PICTURE_SIDE))
    if "tokens" in outputs and label.tokens is not None:
        artifacts[TOKENS] = encode_tokens(reduce_tokens(label.tokens))
    return artifacts


def require_outputs(names: Iterable[str]) -> tuple[Output, ...]:
    """Return the names of outputs, each once, if there are such outputs.

    Raises:
        InvalidOption: names the first that is none.
    """
    wanted = tuple(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in ALL_OUTPUTS]
    if unknown:
        raise InvalidOption(f"Unknown output {unknown[0]!r}.", fix=f"Use some of {', '.join(ALL_OUTPUTS)}.")
    return cast("tuple[Output, ...]", wanted)


def encode_mask(mask: npt.NDArray[np.uint8]) -> bytes:
    """Encode a mask as a palette PNG: the value of a pixel is its index, its colour VOC's.

    Args:
        mask: (H, W) uint8 mask indices.

    Raises:
        InvalidArray: another shape or dtype.
    """
    if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
        raise InvalidArray(
            f"A mask of shape {mask.shape} and dtype {mask.dtype}.", fix="Give a non-empty (H, W) uint8 array."
        )
    picture = Image.fromarray(mask)
    picture.putpalette(PALETTE.tobytes())
    return encode_png(picture)


def is_encoded_mask(data: bytes) -> bool:
    """Say whether a PNG that `images.read_mask` reads is as `encode_mask` makes them: 8 bits, the whole palette."""
    return data[24:26] == _PALETTE_KIND and data[_PALETTE_AT : _PALETTE_AT + len(_PALETTE_CHUNK)] == _PALETTE_CHUNK


def encode_cams(label: Label) -> bytes:
    """Encode the CAMs of a label as `cam.npz`."""
    channels = [label.vocabulary.channel(tag) for tag in label.tags]
    return encode_npz(
        cams=(np.round(label.cams * CAM_STEPS) / CAM_STEPS).astype(np.float16),
        names=np.array(label.tags, dtype=np.str_),
        indices=np.array([label.vocabulary.classes[channel].index for channel in channels], np.uint8),
        size=np.array(label.size, np.int64),
    )


def encode_tokens(tokens: ReducedTokens) -> bytes:
    """Encode `tokens.npz`."""
    return encode_npz(values=tokens.values, scales=tokens.scales)


def encode_npz(**arrays: npt.NDArray[Any]) -> bytes:
    """Encode arrays as NumPy's compressed archive.

    `np.savez_compressed` leaves no choice of effort; on CAMs its own takes several times as long and saves little.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(entry, content.getbuffer(), compresslevel=1)
    return file.getvalue()


def read_cams(data: bytes) -> Cams:
    """Read `cam.npz`.

    Raises:
        InvalidArtifact: damaged or of another layout.
    """
    with _arrays(data, CAMS) as arrays:
        height, width = (int(value) for value in arrays["size"])
        names = tuple(str(name) for name in arrays["names"])
        cams = Cams(names=names, indices=arrays["indices"], maps=arrays["cams"], size=(height, width))
    if cams.maps.ndim != 3 or not len(cams.maps) == len(names) == len(cams.indices):
        raise InvalidArtifact(f"{CAMS} has {cams.maps.shape} maps for {names}.", fix="Label the photo again.")
    return cams


def read_tokens(data: bytes) -> ReducedTokens:
    """Read `tokens.npz`.

    Raises:
        InvalidArtifact: damaged or of another layout.
    """
    with _arrays(data, TOKENS) as arrays:
        tokens = ReducedTokens(arrays["values"], arrays["scales"])
    if tokens.values.ndim != 3 or not tokens.values.size or tokens.scales.shape != tokens.values.shape[2:]:
        raise InvalidArtifact(
            f"{TOKENS} has {tokens.values.shape} values and {tokens.scales.shape} scales.", fix="Label the photo again."
        )
    return tokens


@contextmanager
def _arrays(data: bytes, name: str) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Open an artifact of arrays; what goes wrong inside is the artifact's fault."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidArtifact(f"{name} cannot be read: {error}.", fix="Label the photo again.") from None


def encode_result(result: ItemResult) -> bytes:
    """Encode `result.json`."""
    return result.model_dump_json(indent=1).encode()


def read_result(data: bytes) -> ItemResult:
    """Read `result.json`.

    Raises:
        InvalidArtifact: damaged or of another layout.
    """
    try:
        return ItemResult.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its start"
        raise InvalidArtifact(
            f"{RESULT} does not fit at {where}: {first['msg']}.", fix="Label the photo again."
        ) from None


def encode_jpeg(picture: npt.NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG."""
    return _saved(Image.fromarray(picture), "JPEG", quality=quality)


def encode_png(picture: Image.Image) -> bytes:
    """Encode a picture of any mode as PNG."""
    return _saved(picture, "PNG")


def _saved(picture: Image.Image, kind: str, **settings: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()
