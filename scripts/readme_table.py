"""Writes the generated tables between their marks in README.md; --check only says whether they are current."""

import sys
from collections import defaultdict
from pathlib import Path

from gantrain.metrics.registry import METRICS
from gantrain.objectives.table import as_markdown
from scripts.comparisons import TABLES, experiments
from scripts.tables import SEEDS, cell_text, finished_runs, key_of, markdown_table

README = Path(__file__).resolve().parents[1] / "README.md"


def experiments_as_markdown() -> str:
    """Every experiment with its source and published value, and our FID on CIFAR-10 once there are runs."""
    done = finished_runs("cifar10")
    names = defaultdict(list)
    for name, paper in experiments().items():
        keys = [key_of(TABLES["experiments"], "cifar10", (f"experiment={name}",), seed) for seed in SEEDS]
        rows = [done[key] for key in keys if key in done]
        family, _, member = name.rpartition("/")
        cells = (family, paper["source"], paper["published"], cell_text(rows, "fid_ema") if rows else "")
        names[cells].append(member)
    head = ["experiment=", "after", "published", "our FID"]
    lines = [
        [", ".join(f"`{family}{'/' * bool(family)}{member}`" for member in members), *cells]
        for (family, *cells), members in names.items()
    ]
    if not any(line[-1] for line in lines):
        head, lines = head[:-1], [line[:-1] for line in lines]
    return markdown_table(head, lines)


def metrics_as_markdown() -> str:
    """Every metric with the values that it gives."""
    specs = [metric.spec for metric in METRICS]
    lines = [[f"`{spec.name}`", ", ".join(f"`{value.name}`" for value in spec.values), spec.help] for spec in specs]
    return markdown_table(["metric", "values", "meaning"], lines)


def with_tables(text: str) -> str:
    """The text with the present tables between their marks."""
    tables = {
        "objectives": as_markdown(),
        "experiments": experiments_as_markdown(),
        "metrics": metrics_as_markdown(),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: make readme -->", f"<!-- /{name} -->"
        head, rest = text.split(begin)
        _, tail = rest.split(end)
        text = f"{head}{begin}\n{table}\n{end}{tail}"
    return text


def main() -> int:
    """0 if README.md is current or was written, 1 if --check finds it out of date."""
    old = README.read_text(encoding="utf-8")
    new = with_tables(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
