"""Photos that were fetched for a task lately: asked for again, they come from our own store.

Label Studio asks again for every task of a selection after a time-out, and in interactive mode with every click.
"""

import hashlib
from typing import Final

from toco.jobs.keys import kept_image_key
from toco.jobs.records import Records
from toco.jobs.store import Store, image_key
from toco.model.errors import TocoError
from toco.service.annotation.shared_labels import Place
from toco.service.annotation.task_image import TaskImage

_KEPT_SECONDS: Final = 600  # a photo that is replaced behind its address is seen after this time


class KeptImages:
    """Remembers which item has the photo of an address. Safe to use from several threads.

    Args:
        records: where that is remembered.
        store: has the photos.
        owner: the API key whose requests fetched them; others do not get at them this way.
    """

    def __init__(self, records: Records, store: Store, owner: str) -> None:
        self._redis = records.redis
        self._store = store
        self._owner = owner

    def recall(self, reference: object) -> TaskImage | None:
        """Return the photo of an address, or None where it is not kept (any more)."""
        kept = self._redis.get(self._key(reference))
        if not kept:
            return None
        try:
            return TaskImage(self._store.get(kept))
        except TocoError:  # deleted with its job, or the store is away: the address still has it
            self._redis.delete(self._key(reference))
            return None

    def keep(self, reference: object, image: TaskImage, place: Place) -> None:
        """Remember where the photo of an address went, if it was fetched."""
        if isinstance(reference, str) and not image.key and not reference.startswith("data:"):
            self._redis.set(self._key(reference), image_key(place.job, place.item), nx=True, ex=_KEPT_SECONDS)

    def _key(self, reference: object) -> str:
        return kept_image_key(hashlib.sha256(f"{self._owner}\0{reference}".encode()).hexdigest())
