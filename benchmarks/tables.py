"""Puts computed tables into documents, between `<!-- table:NAME -->` and `<!-- /table -->`.

No figure in a document is typed: each table is rendered from a JSON file that a benchmark wrote.
"""

import re
from collections.abc import Mapping
from pathlib import Path


def place(document: str, tables: Mapping[str, str]) -> str:
    """Return a document with its tables replaced.

    Args:
        document: Markdown.
        tables: Markdown by name; names that the document does not mention are not used.
    """

    def rendered(found: re.Match[str]) -> str:
        table = tables.get(found["name"])
        return found[0] if table is None else f"{found['open']}\n{table.strip()}\n{found['close']}"

    pattern = r"(?P<open><!-- table:(?P<name>[\w-]+) -->)\n.*?(?P<close><!-- /table -->)"
    return re.sub(pattern, rendered, document, flags=re.DOTALL)


def place_in_file(path: Path, tables: Mapping[str, str]) -> None:
    """Replace the tables of a file."""
    path.write_text(place(path.read_text("utf-8"), tables), "utf-8")
