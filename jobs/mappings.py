"""Mappings of the users' own words that are kept by name, to be used again."""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

from toco.jobs.keys import mappings_key
from toco.jobs.records import Records
from toco.model.errors import TocoError
from toco.model.photos.mapping import fold_mapping

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._ \-]{0,63}$"
MappingName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class MappingNotFound(TocoError):
    """No mapping has this name."""

    code = "mapping_not_found"
    kind = "not_found"


class Mappings:
    """Mappings by workspace. Safe to use from several threads."""

    def __init__(self, records: Records) -> None:
        self._redis = records.redis

    def names(self, workspace: str) -> list[str]:
        """Return the names of all mappings, sorted."""
        return sorted(self._redis.hkeys(mappings_key(workspace)))

    def get(self, name: str, workspace: str) -> dict[str, str]:
        """Return a mapping as it was written. Raises MappingNotFound."""
        found = self._redis.hget(mappings_key(workspace), name)
        if found is None:
            raise MappingNotFound(f"There is no mapping {name!r}.", fix="List them with GET /v1/mappings.")
        return dict(json.loads(found))

    def put(self, name: str, words: Mapping[str, str], workspace: str) -> None:
        """Keep a mapping, in the place of one of the same name. Raises InvalidMapping."""
        fold_mapping(words.items())
        self._redis.hset(mappings_key(workspace), name, json.dumps(dict(words)))

    def delete(self, name: str, workspace: str) -> None:
        """Forget a mapping. Raises MappingNotFound."""
        if not self._redis.hdel(mappings_key(workspace), name):
            self.get(name, workspace)

    def folded(self, given: Mapping[str, str] | str, workspace: str) -> dict[str, str]:
        """Return the mapping of a request as `understanding.understand` takes it.

        Args:
            given: words and what they stand for, or the name of a kept mapping; empty for none.
            workspace: where it is kept.

        Raises:
            MappingNotFound, InvalidMapping
        """
        words = self.get(given, workspace) if isinstance(given, str) and given else given
        return fold_mapping(words.items()) if words and not isinstance(words, str) else {}
