"""Rows of figures, as a table on the terminal, as Markdown and as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gantrain.atomic_io import replace_text
from gantrain.benchmark.rows import OK, Row
from gantrain.benchmark.targets import Verdict

JSON, MARKDOWN = "bench.json", "bench.md"
HEAD = ("contest", "loop", "images/s", "µs/iteration", "ratio", "launches", "floor", "MiB", "remarks")


def cells_of(row: Row) -> list[str]:
    """The row as words, in the order of HEAD."""
    ratio = row.ratios.get(row.against)
    remarks = [] if row.status == OK else [row.status]
    remarks += [f"{name} {value:.4g}" for name, value in row.figures.items()]
    remarks += [row.note] * bool(row.note)
    return [
        row.contest,
        row.cell,
        "" if row.images_per_second is None else f"{row.images_per_second.median:,.0f}",
        "" if row.microseconds is None else f"{row.microseconds.median:,.0f}",
        "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f}) × {row.against}",
        "" if row.launches is None else f"{row.launches:.0f}",
        "" if row.share_of_floor is None else f"{row.share_of_floor:.1%}",
        "" if row.peak_mib is None else f"{row.peak_mib:,.0f}",
        ", ".join(remarks),
    ]


def as_text(row: Row) -> str:
    """The row on one line, for a terminal."""
    return f"{row.block:9} " + "  ".join(word for word in cells_of(row) if word)


def as_markdown(machine: dict[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """The whole of it as a page: the device, the targets, a table a block."""
    lines = [f"# Benchmark on {machine['device']}", ""]
    lines += [f"- {key}: {value}" for key, value in machine.items() if value is not None]
    lines += ["", "Ratios are of paired rounds: median (10 %–90 %). Launches are kernels on a GPU, operators on a CPU."]
    lines += ["", "| target | wanted | measured | |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        measured = "" if verdict.value is None else f"{verdict.value:.3g}"
        lines.append(f"| {verdict.name} | {verdict.wanted} | {measured} | {verdict.outcome} |")
    for block in dict.fromkeys(row.block for row in rows):
        of_block = [cells_of(row) for row in rows if row.block == block]
        used = [k for k in range(len(HEAD)) if any(words[k] for words in of_block)]
        lines += ["", f"## {block}", "", f"| {' | '.join(HEAD[k] for k in used)} |", "| --- " * len(used) + "|"]
        lines += [f"| {' | '.join(words[k].replace('|', '/') for k in used)} |" for words in of_block]
    return "\n".join(lines) + "\n"


def as_json(machine: dict[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """The same for other programs."""
    document = {
        "machine": machine,
        "targets": [dataclasses.asdict(verdict) for verdict in verdicts],
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(folder: Path, machine: dict[str, Any], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> None:
    """bench.json and bench.md, each whole."""
    replace_text(folder / JSON, as_json(machine, rows, verdicts))
    replace_text(folder / MARKDOWN, as_markdown(machine, rows, verdicts))
