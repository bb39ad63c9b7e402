"""What all export formats share: options, names, checks and the order of calls."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import PurePosixPath
from types import TracebackType
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from toco.model.errors import InvalidArray
from toco.model.formats.item import LabelledItem
from toco.model.formats.regions import indices_in
from toco.model.formats.sink import Sink
from toco.model.formats.spool import Spool
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.names import fitted

_SUFFIX_BYTES: Final = 5  # of `.jpeg`, the longest suffix that a photo keeps

SpoolT = TypeVar("SpoolT", bound=Spool)


class ExportOptions(Frozen):
    """Settings of an export; each format uses those that concern it.

    Attributes:
        mask: which of the two masks is exported.
        images: whether the photos go into the export too.
        subset: name of the part of a data set that the photos make up.
        components: a COCO or CVAT instance for each connected region instead of one a class.
        min_area: regions and holes of fewer pixels are left out of polygons and separate regions.
        tolerance: how far, in pixels, a polygon may stray from the mask's outline; 0 keeps every corner.
        regions: what Label Studio shows.
        image_prefix: Label Studio's address of the exported folder's photos; the quoted name follows.
        cam_dtype: number format of exported CAMs.
        open_photos: whether photos go in whose whole mask is open (255): nothing is known of them.
    """

    mask: Literal["pseudo_mask", "segmentation"] = "pseudo_mask"
    images: bool = True
    subset: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,64}$")] = "train"
    components: bool = False
    min_area: Annotated[int, Field(ge=0)] = 16
    tolerance: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    regions: Literal["brush", "polygon"] = "brush"
    image_prefix: str = "/data/local-files/?d=images/"
    cam_dtype: Literal["float16", "float32"] = "float32"
    open_photos: bool = False


class ExportWriter(ABC):
    """Writes labelled photos in one format, one after the other, in memory that does not grow with their number.

    Use it as a context manager: leaving it closes it, and after an error drops what is unfinished. The sink stays
    open; closing it is up to whoever opened it.

    Args:
        sink: where the files go.
        vocabulary: the classes of the masks.
        options: settings of the export.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        self.sink = sink
        self.vocabulary = vocabulary
        self.options = options
        self._stems: set[str] = set()
        self._temporary = ExitStack()
        known = np.zeros(256, bool)
        known[[BACKGROUND, IGNORE, *vocabulary.indices]] = True
        self._known = known

    @abstractmethod
    def add(self, item: LabelledItem) -> None:
        """Write one photo's files; whatever may be wrong with it is found before the first is written.

        Raises:
            MissingPart: the format needs a part that the item does not have.
            InvalidArtifact: a part that the format needs is damaged.
            InvalidArray: the mask holds an index that the vocabulary does not know.
            UnreadableImage, UnsupportedImageFormat, ImageTooLarge: the photo cannot be read.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write the files that come last."""

    def close(self) -> None:
        """Write the files that come last and drop temporary ones."""
        with self._temporary:
            self.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._temporary.close()

    def keep(self, spool: SpoolT) -> SpoolT:
        """Return a spool that is closed with the writer."""
        self._temporary.callback(spool.close)
        return spool

    def mask_of(self, item: LabelledItem) -> npt.NDArray[np.uint8]:
        """Return the mask that the options choose, (H, W) uint8. Raises like `add`."""
        mask = item.pseudo_mask if self.options.mask == "pseudo_mask" else item.segmentation
        unknown = np.flatnonzero(indices_in(mask) & ~self._known)
        if unknown.size:
            raise InvalidArray(
                f"The mask of {item.name!r} holds the index {unknown[0]}.",
                fix="Export with the vocabulary of its model.",
            )
        return mask

    def stem_of(self, item: LabelledItem) -> str:
        """Return the photo's path without suffix, made unique: the `a.png` beside an `a.jpg` becomes `a_png`.

        File systems take it with any of the formats' suffixes.
        """
        path = PurePosixPath(item.name)
        stem = fitted(str(path.with_suffix("")), room=_SUFFIX_BYTES)
        while stem in self._stems:
            stem = fitted(f"{stem}_{path.suffix.lstrip('.') or 'image'}", room=_SUFFIX_BYTES)
        self._stems.add(stem)
        return stem

    def photo_of(self, item: LabelledItem, *, jpeg_only: bool = False) -> tuple[str, bytes] | None:
        """Return suffix and bytes of the photo (see `export_photo`), or None if it is not wanted. Raises like `add`."""
        return item.photo(jpeg_only=jpeg_only) if self.options.images else None
