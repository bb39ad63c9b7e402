"""What all export formats share: options, names, checks, the list of photos and the order of calls."""

import re
from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Annotated, ClassVar, Final, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from toco.model.errors import InvalidArray, InvalidOption, shown
from toco.model.formats.item import LabelledItem, MaskChoice
from toco.model.formats.rle import OutlineCost
from toco.model.formats.shown_class import ShownClass
from toco.model.formats.sink import Sink
from toco.model.formats.splits import NO_SPLIT, PART_PATTERN, SPLIT_PATTERN, TABLE, shares_of
from toco.model.formats.spool import LineSpool, Spool
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.names import fitted

_SUFFIX_BYTES: Final = 5  # of `.jpeg`, the longest suffix that a photo keeps

PHOTO_LIST: Final = "photos.csv"
"""In every export: each photo's own name, that of its files without suffix, and its part."""

SpoolT = TypeVar("SpoolT", bound=Spool)


class ExportOptions(Frozen):
    """Settings of an export; each format uses those that concern it.

    Attributes:
        mask: which of the two masks is exported.
        images: whether the photos go into the export too.
        subset: the part of a data set that photos make up which have no other.
        split: `table` takes the parts that the table of tags names, `none` makes no parts, and shares such as
            `80/10/10` make new ones; see `splits`.
        seed: of the shares.
        min_region: regions of a class of fewer pixels are left open (255), in every format; 0 keeps all.
        fill_holes: holes in a class of fewer pixels become the class, in every format; 0 keeps all.
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
    subset: Annotated[str, Field(pattern=PART_PATTERN)] = "train"
    split: Annotated[str, Field(pattern=SPLIT_PATTERN)] = TABLE
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    min_region: Annotated[int, Field(ge=0)] = 0
    fill_holes: Annotated[int, Field(ge=0)] = 0
    components: bool = False
    min_area: Annotated[int, Field(ge=0)] = 16
    tolerance: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    regions: Literal["brush", "polygon"] = "brush"
    image_prefix: str = "/data/local-files/?d=images/"
    cam_dtype: Literal["float16", "float32"] = "float32"
    open_photos: bool = False

    @property
    def which(self) -> MaskChoice:
        """The mask that is exported."""
        return MaskChoice(self.mask, self.min_region, self.fill_holes)

    @property
    def makes_parts(self) -> bool:
        """Whether the photos are divided anew, by shares."""
        return self.split not in (TABLE, NO_SPLIT)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.makes_parts:
            try:
                shares_of(self.split)
            except InvalidOption as error:
                raise ValueError(str(error)) from None
        return self


def export_options(**settings: object) -> ExportOptions:
    """Return the options of an export.

    Args:
        settings: fields of `ExportOptions` that are not as usual.

    Raises:
        InvalidOption: names the first that does not fit.
    """
    try:
        return ExportOptions.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:100] or "split"
        raise InvalidOption(
            f"Export option {where} = {shown(settings.get(where, first['input']))}: {first['msg'].lower()}.",
            fix=f"The options are {', '.join(ExportOptions.model_fields)}.",
        ) from None


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
    own_names: ClassVar[bool] = False
    """Whether the tool finds photos by the names that they have already: then these stay as they are."""
    jpeg_for: ClassVar[frozenset[str]] = frozenset({"HEIF"})
    """Kinds of photos that the tool does not read (`images.PHOTO_FORMATS`): they go in as JPEG."""
    card_head: ClassVar[str] = ""
    """What the data sheet begins with."""

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        self.sink = sink
        self.vocabulary = vocabulary
        self.options = options
        self._stems: set[str] = set()
        self._temporary = ExitStack()
        self._photos = self.keep(LineSpool())
        self.parts: set[str] = set()
        self.outlines = OutlineCost()
        known = np.zeros(256, bool)
        known[[BACKGROUND, IGNORE, *vocabulary.indices]] = True
        self._unknown = np.flatnonzero(~known)

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
            with self.sink.open(PHOTO_LIST) as file:
                file.write(b"photo,file,part\n")
                self._photos.copy_to(file)

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
        mask = item.tidied(self.options.which)
        found = item.pixels(self.options.which)[self._unknown]
        if found.any():
            raise InvalidArray(
                f"The mask of {item.name!r} holds the index {self._unknown[found > 0][0]}.",
                fix="Export with the vocabulary of its model.",
            )
        return mask

    def classes_of(self, item: LabelledItem) -> tuple[ShownClass, ...]:
        """Return every class of the mask of `mask_of`, in channel order. Raises like `add`."""
        return item.classes(self.options.which, self.vocabulary)

    def part_of(self, item: LabelledItem) -> str:
        """Return the part of the data set that the photo belongs to, and note that there is such a part."""
        part = item.part or self.options.subset
        self.parts.add(part)
        return part

    def stem_of(self, item: LabelledItem) -> str:
        """Return the photo's path without suffix, made unique: the `a.png` beside an `a.jpg` becomes `a_png`.

        File systems take it with any of the formats' suffixes, also those to which `A` and `a` are one name, and lists
        of names survive it: blanks at either end and a leading `#` are replaced. `photos.csv` says which is which.
        """
        plain = item.plain
        if not self.own_names:
            plain = "/".join(self.plain_name(part) for part in plain.split("/"))
        stem = fitted(plain, room=_SUFFIX_BYTES)
        while stem.casefold() in self._stems:
            stem = fitted(f"{stem}_{item.suffix.lstrip('.') or 'image'}", room=_SUFFIX_BYTES)
        self._stems.add(stem.casefold())
        self._photos.add(",".join(_quoted(text) for text in (item.name, stem, self.part_of(item))))
        return stem

    def plain_name(self, part: str) -> str:
        """Return the name of a file or folder as lists and tools of this format take it."""
        return re.sub(r"^[\s#]|\s$", "_", part)

    def photo_of(self, item: LabelledItem, *, jpeg_only: bool = False) -> tuple[str, bytes] | None:
        """Return suffix and bytes of the photo (see `export_photo`), or None if it is not wanted. Raises like `add`."""
        if not self.options.images:
            return None
        return item.photo(jpeg_only=jpeg_only, jpeg_for=self.jpeg_for)


def _quoted(text: str) -> str:
    """Return a field of a CSV."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",]|^\s|\s$', text) else text
