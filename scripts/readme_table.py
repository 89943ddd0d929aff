"""Writes the table of objectives between its marks in README.md; --check only says whether it is current."""

import sys
from pathlib import Path

from gantrain.objectives.table import as_markdown

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- objectives: make readme -->", "<!-- /objectives -->"


def with_table(text: str) -> str:
    """The text with the present table between the marks."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{as_markdown()}\n{END}{tail}"


def main() -> int:
    """0 if README.md is current or was written, 1 if --check finds it out of date."""
    old = README.read_text(encoding="utf-8")
    new = with_table(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
