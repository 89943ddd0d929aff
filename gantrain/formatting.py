"""Text of configuration values and keys, safe to print on a terminal."""

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def as_word(value: object) -> str:
    """A value as written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(as_word(part) for part in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def printable(text: str) -> str:
    """Replaces control characters by �, so that text cannot move the cursor or rename the window."""
    return _CONTROL.sub("\ufffd", text)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
