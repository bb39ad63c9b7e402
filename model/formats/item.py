"""One labelled photo as the export formats take it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError
from toco.model.formats.artifacts import (
    CAMS,
    PSEUDO_MASK,
    RESULT,
    SEGMENTATION,
    Cams,
    InvalidArtifact,
    encode_mask,
    is_encoded_mask,
    read_cams,
    read_result,
)
from toco.model.formats.photo import export_photo
from toco.model.formats.regions import indices_in, tidied
from toco.model.formats.result import ItemResult
from toco.model.formats.splits import ListedPhoto
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import read_image, read_mask
from toco.model.photos.names import require_relative

MaskName = Literal["pseudo_mask", "segmentation"]


class MissingPart(TocoError):
    """The export needs a part of the item that is not there."""

    code = "missing_part"
    kind = "invalid"


class LabelledItem:
    """A photo and its label; each part is read when a format first asks for it, and once however many do.

    Args:
        name: relative path of the photo, forward slashes.
        load: returns an artifact's bytes by its name, or None where it was not made.
        load_image: returns the photo's original bytes; None where they are not at hand.
        part: of the data set, such as `val`; empty for the one that the export's options name.
        recode: (256,) uint8, the exported index of each index of the masks; None leaves them as they are.

    Raises:
        InvalidName: `name` is no contained relative path.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], bytes | None],
        *,
        load_image: Callable[[], bytes] | None = None,
        part: str = "",
        recode: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        self.name = require_relative(name)
        self.part = part
        self._recode = recode
        self._load = load
        self._load_image = load_image
        self._photos: dict[tuple[bool, frozenset[str]], tuple[str, bytes]] = {}
        self._tidied: dict[tuple[str, int, int], npt.NDArray[np.uint8]] = {}
        self._shown: dict[tuple[str, int, int], npt.NDArray[np.bool_]] = {}
        self._pngs: dict[MaskName, bytes] = {}

    @cached_property
    def result(self) -> ItemResult:
        """The description of the label. Raises InvalidArtifact if it is missing or does not fit."""
        return read_result(self._load(RESULT) or b"")

    def listed(self, part: str = "", *, look: bool = False) -> ListedPhoto:
        """Return what a split knows of the photo; see `splits.split_photos`.

        Args:
            part: that its table names.
            look: find its fingerprint from the photo where the result has none (those of older versions).

        Raises:
            InvalidArtifact, MissingPart, or what reading the photo raises.
        """
        result = self.result
        found = result.fingerprint or (fingerprint(read_image(self.image).pixels) if look else "")
        return ListedPhoto(self.name, frozenset((*result.tags, *result.open_tags)), found, part)

    @cached_property
    def pseudo_mask(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 mask indices, 0 background, 255 ignore.

        Raises:
            MissingPart: it was not made.
            InvalidArtifact: it is damaged, or not of the size that the result states.
        """
        return self._mask("pseudo_mask", PSEUDO_MASK)

    @cached_property
    def segmentation(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 mask indices. Raises like `pseudo_mask`."""
        return self._mask("segmentation", SEGMENTATION)

    def tidied(self, mask: MaskName, *, min_region: int = 0, fill_holes: int = 0) -> npt.NDArray[np.uint8]:
        """Return one of the two masks without small regions and holes; see `regions.tidied`. Raises like it."""
        found = self.pseudo_mask if mask == "pseudo_mask" else self.segmentation
        if not (min_region or fill_holes):
            return found
        key = mask, min_region, fill_holes
        if key not in self._tidied:
            self._tidied[key] = tidied(found, min_region=min_region, fill_holes=fill_holes)
        return self._tidied[key]

    def shown(self, mask: MaskName, *, min_region: int = 0, fill_holes: int = 0) -> npt.NDArray[np.bool_]:
        """Return (256,) bool: which values such a mask holds (see `tidied`). Raises like it."""
        key = mask, min_region, fill_holes
        if key not in self._shown:
            self._shown[key] = indices_in(self.tidied(mask, min_region=min_region, fill_holes=fill_holes))
        return self._shown[key]

    def mask_png(self, mask: MaskName, *, min_region: int = 0, fill_holes: int = 0) -> bytes:
        """Return such a mask (see `tidied`) as a palette PNG: the artifact itself, where that is one and is unchanged.

        Raises like `tidied`.
        """
        found = self.tidied(mask, min_region=min_region, fill_holes=fill_holes)
        stored = self._pngs.get(mask, b"")
        changed = self._recode is not None or found is not self.tidied(mask)
        return encode_mask(found) if changed or not is_encoded_mask(stored) else stored

    @cached_property
    def cams(self) -> Cams | None:
        """The class activation maps, or None where they were not kept. Raises InvalidArtifact."""
        data = self._load(CAMS)
        found = None if data is None else read_cams(data)
        return found if found is None or self._recode is None else replace(found, indices=self._recode[found.indices])

    @cached_property
    def image(self) -> bytes:
        """The photo's original bytes. Raises MissingPart, or what the loader raises."""
        if self._load_image is None:
            raise MissingPart(f"The photo {self.name!r} is not at hand.", fix="Export without images.")
        return self._load_image()

    def photo(self, *, jpeg_only: bool = False, jpeg_for: frozenset[str] = frozenset()) -> tuple[str, bytes]:
        """Return the suffix and bytes under which the photo goes into an export; see `export_photo`."""
        key = jpeg_only, jpeg_for
        if key not in self._photos:
            kind, turned = self.result.photo_format, self.result.turned
            self._photos[key] = export_photo(
                self.image, self.name, kind=kind, turned=turned, jpeg_only=jpeg_only, jpeg_for=jpeg_for
            )
        return self._photos[key]

    def _mask(self, name: MaskName, artifact: str) -> npt.NDArray[np.uint8]:
        data = self._load(artifact)
        if data is None:
            raise MissingPart(f"{artifact} of {self.name!r} was not made.", fix="Label again with it as an output.")
        size = (self.result.size.height, self.result.size.width)
        try:
            mask = read_mask(data, max_pixels=size[0] * size[1])
        except TocoError as error:
            raise InvalidArtifact(
                f"{artifact} of {self.name!r} cannot be read: {error.detail}", fix="Label the photo again."
            ) from None
        if mask.shape != size:
            raise InvalidArtifact(
                f"{artifact} of {self.name!r} has {mask.shape} pixels; its result states {size}.",
                fix="Label the photo again.",
            )
        self._pngs[name] = data
        return mask if self._recode is None else self._recode[mask]
