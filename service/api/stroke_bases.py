"""Photos made ready for smart strokes, the last few of them kept."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from toco.jobs.job import ItemRecord
from toco.model.crf.choice import crf_backend
from toco.model.errors import TocoError
from toco.model.formats.artifacts import TOKENS, read_tokens
from toco.model.method.smart_strokes import WORKING_SIDE, StrokeBasis, stroke_basis, warm_up
from toco.model.photos.images import read_image
from toco.service.api.patient_store import PatientStore

KEPT: Final = 8
"""Photos; each takes some 20 MB."""


class NoTokens(TocoError):
    """The item has no tokens to compare places by."""

    code = "no_tokens"
    kind = "conflict"


class StrokeBases:
    """What strokes are answered from, by item; safe to use from several threads.

    Args:
        store: has photos and tokens.
        max_pixels: largest photo that is decoded.
    """

    def __init__(self, store: PatientStore, *, max_pixels: int) -> None:
        self._store, self._max_pixels = store, max_pixels
        self._kept: OrderedDict[tuple[str, float], StrokeBasis] = OrderedDict()
        self._lock = Lock()
        self._compiling = Lock()
        self._compiled = False

    def of(self, item: ItemRecord) -> StrokeBasis:
        """Return the basis of a labelled item, made anew if it is not kept.

        Raises:
            NoTokens: it has no label yet, or one made without tokens.
        """
        at = item.revision.key_of(item.job, item.id, TOKENS)
        key = (at, item.finished_at or 0.0)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if item.summary is None or TOKENS not in item.summary.artifacts:
            raise NoTokens(
                f"Item {item.id} has no {TOKENS}.",
                fix="Label the photo again, with `tokens` among its outputs."
                if item.summary
                else f"It is {item.state}; tokens come with its label.",
            )
        self._compile()
        tokens = read_tokens(self._store.get(at))
        photo = read_image(self._store.get(item.image_key), max_pixels=self._max_pixels, long_side=WORKING_SIDE)
        basis = stroke_basis(photo.pixels, tokens, photo.original_size, backend=crf_backend())
        with self._lock:
            self._kept[key] = basis
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return basis

    def _compile(self) -> None:
        with self._compiling:
            if not self._compiled:
                warm_up(crf_backend())
            self._compiled = True
