"""Identifiers that sort by the time of their making."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
ID_PATTERN = rf"^[{ALPHABET}]{{26}}$"
ITEM_DIGITS = 6
ITEM_PATTERN = rf"^\d{{{ITEM_DIGITS}}}$"


def new_id() -> str:
    """Return 26 characters: 48 bits of milliseconds since 1970, then 80 random bits.

    References:
        ULID specification (https://github.com/ulid/spec), in lower case.
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def item_id(position: int) -> str:
    """Return the id of the image at a 0-based position of its job."""
    return f"{position:0{ITEM_DIGITS}d}"
