"""One class of a mask, and what formats need of it: found when the first asks, and once however many do."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from toco.model.formats.polygons import Polygon, rings_to_polygons
from toco.model.formats.regions import box_around, connected_regions, labelled
from toco.model.formats.rings import trace_rings
from toco.model.formats.rle import Overlap, Rle, encode_rle, overlap
from toco.model.photos.classes import ClassName


class ShownClass:
    """A class that a mask shows.

    Its pixels are not kept: they are as many as the mask's, for each class.

    Args:
        entry: the class.
        mask: (H, W) uint8.
        value: of its pixels.
        area: how many they are.
    """

    def __init__(self, entry: ClassName, mask: npt.NDArray[np.uint8], value: int, area: int) -> None:
        self.entry = entry
        self.area = area
        self._mask = mask
        self._value = value
        self._regions: npt.NDArray[np.int64] | None = None
        self._polygons: dict[tuple[float, int], list[Polygon]] = {}
        self._overlaps: dict[tuple[float, int], Overlap] = {}

    @property
    def pixels(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool: where the mask shows the class; made anew each time."""
        return np.equal(self._mask, self._value)

    def parts(self, *, min_area: int) -> Iterator["ShownClass"]:
        """Yield its 8-connected regions, the largest first; see `connected_regions`."""
        for region in connected_regions(self.pixels, min_area=min_area):
            yield ShownClass(self.entry, region.mask.view(np.uint8), 1, region.area)

    @cached_property
    def rle(self) -> Rle:
        """COCO's run lengths."""
        return encode_rle(self.pixels)

    @property
    def regions(self) -> npt.NDArray[np.int64]:
        """(regions,) pixels of each of its 4-connected regions, in no order."""
        if self._regions is None:
            pixels = self.pixels
            box = box_around(pixels)
            part = pixels[box.top : box.bottom, box.left : box.right]
            self._regions = labelled(part, connectivity=4)[1][1:]  # number 0 is everything outside the class
        return self._regions

    def polygons(self, *, tolerance: float, min_area: int) -> list[Polygon]:
        """Return its outlines; see `mask_to_polygons`. Raises InvalidOption."""
        key = tolerance, min_area
        if key not in self._polygons:
            rings = trace_rings(self.pixels)
            self._regions = np.array(rings.pixels, np.int64)[np.array(rings.outer, bool)]
            self._polygons[key] = rings_to_polygons(rings, tolerance=tolerance, min_area=min_area)
        return self._polygons[key]

    def overlap(self, *, tolerance: float, min_area: int) -> Overlap:
        """Return how well its outlines fit it. Raises InvalidOption."""
        key = tolerance, min_area
        if key not in self._overlaps:
            self._overlaps[key] = overlap(self.rle, self.area, self.polygons(tolerance=tolerance, min_area=min_area))
        return self._overlaps[key]
