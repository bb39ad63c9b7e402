"""One labelled photo as the export formats take it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

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
from toco.model.formats.regions import pixels_of, tidied
from toco.model.formats.result import ItemResult
from toco.model.formats.shown_class import ShownClass
from toco.model.formats.splits import ListedPhoto
from toco.model.photos.classes import Vocabulary
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import read_image, read_mask
from toco.model.photos.names import require_relative

MaskName = Literal["pseudo_mask", "segmentation"]


class MissingPart(TocoError):
    """The export needs a part of the item that is not there."""

    code = "missing_part"
    kind = "invalid"


class MaskChoice(NamedTuple):
    """One of an item's masks, as an export takes it.

    Attributes:
        mask: which of the two.
        min_region: regions of a class of fewer pixels are left open (255); 0 keeps all.
        fill_holes: holes in a class of fewer pixels become the class; 0 keeps all.
    """

    mask: MaskName
    min_region: int = 0
    fill_holes: int = 0


class LabelledItem:
    """A photo and its label; each part is read when a format first asks for it, and once however many do.

    `plain` is the name without its suffix, and `suffix` that.

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
        path = PurePosixPath(name)
        self.plain, self.suffix = str(path.with_suffix("")), path.suffix
        self.part = part
        self._recode = recode
        self._load = load
        self._load_image = load_image
        self._photos: dict[tuple[bool, frozenset[str]], tuple[str, bytes]] = {}
        self._tidied: dict[MaskChoice, npt.NDArray[np.uint8]] = {}
        self._pixels: dict[MaskChoice, npt.NDArray[np.int64]] = {}
        self._classes: dict[tuple[MaskChoice, Vocabulary], tuple[ShownClass, ...]] = {}
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

    def tidied(self, which: MaskChoice) -> npt.NDArray[np.uint8]:
        """Return a mask, (H, W) uint8; see `regions.tidied`. Raises like `pseudo_mask`."""
        found = self.pseudo_mask if which.mask == "pseudo_mask" else self.segmentation
        if not (which.min_region or which.fill_holes):
            return found
        if which not in self._tidied:
            self._tidied[which] = tidied(found, min_region=which.min_region, fill_holes=which.fill_holes)
        return self._tidied[which]

    def pixels(self, which: MaskChoice) -> npt.NDArray[np.int64]:
        """Return (256,): how many pixels of a mask hold each value. Raises like `pseudo_mask`."""
        if which not in self._pixels:
            self._pixels[which] = pixels_of(self.tidied(which))
        return self._pixels[which]

    def classes(self, which: MaskChoice, vocabulary: Vocabulary) -> tuple[ShownClass, ...]:
        """Return the classes that a mask shows, in channel order. Raises like `pseudo_mask`.

        Background (0) and ignored pixels (255) belong to no class.
        """
        if (which, vocabulary) not in self._classes:
            mask, pixels = self.tidied(which), self.pixels(which)
            self._classes[which, vocabulary] = tuple(
                ShownClass(entry, mask, entry.index, int(pixels[entry.index]))
                for entry in vocabulary
                if pixels[entry.index]
            )
        return self._classes[which, vocabulary]

    def mask_png(self, which: MaskChoice) -> bytes:
        """Return a mask as a palette PNG: the artifact itself, where that is one and is unchanged.

        Raises like `pseudo_mask`.
        """
        found = self.tidied(which)
        stored = self._pngs.get(which.mask, b"")
        changed = self._recode is not None or found is not self.tidied(MaskChoice(which.mask))
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
