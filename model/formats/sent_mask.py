"""Masks that people send: PNG of class indices, or COCO run lengths in JSON; read, checked, never guessed at.

Sizes are compared before a pixel is decoded, so that a file's own claims never take memory.

References:
    pycocotools `common/maskApi.c`, `rleFrString` (compressed counts) and `rleDecode` (columns first).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toco.model.errors import TocoError, shown
from toco.model.formats.regions import indices_in
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.images import probe_image, read_mask

Mask = npt.NDArray[np.uint8]
"""(H, W) uint8 mask indices, 0 background, 255 open."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_REGIONS: Final = 10_000
_FIX: Final = "Send a palette or 8-bit grey PNG of class indices (0 background, 255 open), or COCO run lengths as JSON."


class InvalidMask(TocoError):
    """What was sent is no mask of this photo."""

    code = "invalid_mask"
    kind = "invalid"


class RunLengths(BaseModel):
    """COCO's run lengths of one region: uncompressed (a list) or compressed (text)."""

    model_config = ConfigDict(extra="forbid")

    size: tuple[int, int] = Field(description="Height and width in pixels.")
    counts: list[Annotated[int, Field(ge=0)]] | str


class SentRegion(BaseModel):
    """One region and what it shows."""

    model_config = ConfigDict(extra="ignore")

    label: Annotated[str, Field(max_length=512)] = Field(description="A class, `background` or `open`.")
    segmentation: RunLengths


class SentRegions(BaseModel):
    """A mask as regions; later ones lie over earlier ones."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"regions": [{"label": "cat", "segmentation": {"size": [2, 3], "counts": [1, 2, 3]}}]}]
        },
    )

    regions: Annotated[list[SentRegion], Field(max_length=_MOST_REGIONS)]
    rest: Literal["background", "open"] = Field("background", description="What no region covers.")


def read_sent_mask(data: bytes, size: tuple[int, int], vocabulary: Vocabulary) -> Mask:
    """Read a mask that was sent for a photo: PNG by its first bytes, else JSON.

    Args:
        data: as it was sent.
        size: (H, W) of the photo, upright, in pixels.
        vocabulary: the classes of its masks.

    Returns:
        (H, W) uint8 mask indices.

    Raises:
        InvalidMask: neither of the two, of another size, or with an index or a class that the vocabulary lacks.
    """
    if data.startswith(_PNG):
        return require_known(_from_png(data, size), vocabulary)
    if data.lstrip()[:1] != b"{":
        raise InvalidMask("The body is no PNG, and no JSON object." if data else "The body is empty.", fix=_FIX)
    try:
        sent = SentRegions.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise InvalidMask(f"{where}: {first['msg']}.", fix=_FIX) from None
    return draw_regions(sent, size, vocabulary)


def draw_regions(sent: SentRegions, size: tuple[int, int], vocabulary: Vocabulary) -> Mask:
    """Draw regions one over the other; see `read_sent_mask`."""
    mask = np.full(size, BACKGROUND if sent.rest == "background" else IGNORE, np.uint8)
    for region in sent.regions:
        inside = decode_rle(region.segmentation.model_dump(), size)
        mask[inside] = _index_of(region.label, vocabulary)
    return mask


def require_known(mask: Mask, vocabulary: Vocabulary) -> Mask:
    """Return a mask all of whose values are classes, background or open. Raises InvalidMask."""
    known = {BACKGROUND, IGNORE, *vocabulary.indices}
    unknown = [int(index) for index in np.flatnonzero(indices_in(mask)) if int(index) not in known]
    if unknown:
        names = ", ".join(f"{entry.index} {entry.name}" for entry in vocabulary)
        raise InvalidMask(
            f"The mask holds the index {unknown[0]}, which is no class of the job's model.",
            fix=f"Use 0 background, 255 open, {names}.",
        )
    return mask


def decode_rle(rle: dict[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Decode COCO run lengths, compressed or not, whatever they claim.

    Args:
        rle: `size` and `counts`.
        size: (H, W) that it must have.

    Returns:
        (H, W) bool.

    Raises:
        InvalidMask: of another size, or runs that do not add up to it.
    """
    _require_size((int(rle["size"][0]), int(rle["size"][1])), size)
    counts = rle["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise InvalidMask(
            f"Run lengths of {sum(runs):,} pixels for a photo of {size[0] * size[1]:,}.", fix="Encode the mask again."
        )
    values = np.arange(len(runs)) % 2 == 1  # begins with what is outside
    return np.repeat(values, np.asarray(runs, np.int64)).reshape(size[1], size[0]).T


def _uncompressed(text: str) -> Sequence[int]:
    """Return the run lengths that a compressed text stands for.

    Five bits a character, the lowest first; bit 5 says that more follow, bit 4 of the last is the sign. From the third
    run on, a number is the difference to the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for sign in text:
        part = ord(sign) - 48
        if not 0 <= part < 64 or shift > 60:
            raise InvalidMask(f"Run lengths hold {shown(sign)}.", fix="Send the counts as pycocotools encodes them.")
        value |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise InvalidMask("Run lengths end in the middle of a number.", fix="Encode the mask again.")
    return runs


def _from_png(data: bytes, size: tuple[int, int]) -> Mask:
    try:
        header = probe_image(data, max_pixels=max(size[0] * size[1], 1))
        _require_size((header.height, header.width), size)
        return read_mask(data, max_pixels=size[0] * size[1])
    except InvalidMask:
        raise
    except TocoError as error:
        raise InvalidMask(error.detail, fix=_FIX) from None


def _require_size(given: tuple[int, int], size: tuple[int, int]) -> None:
    if given != size:
        raise InvalidMask(
            f"The mask has {given[1]} x {given[0]} pixels, the photo {size[1]} x {size[0]}.",
            fix="Send it at the size of the upright photo.",
        )


def _index_of(label: str, vocabulary: Vocabulary) -> int:
    fixed = {"background": BACKGROUND, "open": IGNORE}
    if label in fixed:
        return fixed[label]
    name = vocabulary.find(label)
    if name is None:
        raise InvalidMask(
            f"{shown(label)} is no class of the job's model.",
            fix=f"Use background, open, {', '.join(vocabulary.names)}.",
        )
    return vocabulary.classes[vocabulary.channel(name)].index
