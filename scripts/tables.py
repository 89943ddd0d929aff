"""Runs the comparisons of docs/results and writes their tables: python -m scripts.tables NAME.

A table (see scripts/comparisons.py) is rows × columns × seeds, each a run of `python -m gantrain`. A finished run is a
line of docs/results/runs-DATA.jsonl, found by its overrides: it never runs again, and tables share it. When the command
is interrupted or `--minutes` are over, the same command continues later, unfinished runs from their last checkpoint.

    python -m scripts.tables pairs                                # five seeds on the digits, one process per core
    python -m scripts.tables all --data cifar10 --minutes 8.5     # a part of the GPU's tables
    python -m scripts.tables --write                              # writes the tables of docs/results, runs nothing
"""

import argparse
import hashlib
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from scripts.comparisons import BUDGETS, TABLES, Overrides, Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
RUNS = ROOT / "outputs" / "tables"
SEEDS = (0, 1, 2, 3, 4)
MARK = re.compile(r"<!-- table (\w+) (\w+) -->\n.*?<!-- /table -->", re.DOTALL)

WRITING = ("log.grids_every_steps=1000000000", "log.checkpoint_every_steps=200")
"""Overrides that change no result: no grids, and frequent checkpoints."""
NOT_FINITE = "is not finite"
"""In the error message of a run whose loss was not finite."""


def key_of(table: Table, data: str, overrides: Overrides, seed: int) -> str:
    """The overrides of a run, by which it is found; those of its cell in alphabetical order."""
    return " ".join((*words_of(table, data), *sorted(overrides), f"seed={seed}"))


def words_of(table: Table, data: str) -> Overrides:
    """The overrides that all runs of a table share."""
    budget = BUDGETS[data]
    return budget.measuring if table.own_length else (*budget.length, *budget.measuring)


def runs_file(data: str) -> Path:
    """The finished runs of a data set."""
    return RESULTS / f"runs-{data}.jsonl"


def finished_runs(data: str) -> dict[str, dict[str, Any]]:
    """Every finished run by its key."""
    path = runs_file(data)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {row["run"]: row for row in map(json.loads, filter(None, lines))}


def folder_of(key: str, data: str) -> Path:
    """The run's folder, which is the same in every call."""
    return RUNS / data / hashlib.sha1(key.encode()).hexdigest()[:10]


def train(key: str, data: str, threads: int, deadline: float) -> dict[str, Any]:
    """Runs or resumes one run and returns its line of the results.

    Raises:
        subprocess.TimeoutExpired: the deadline (of `time.monotonic`) came first; the run can be resumed.
        RuntimeError: it failed, other than by a loss that is not finite.
    """
    from gantrain.run_io.run_reader import read_run
    from gantrain.run_io.status import FINISHED
    from gantrain.training.checkpoint import LAST

    folder = folder_of(key, data)
    row: dict[str, Any] = {"run": key}
    resumed, started = (folder / LAST).is_file(), time.monotonic()
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
    if not resumed or read_run(folder).state != FINISHED:
        words = [f"resume={folder}"] if resumed else [*key.split(), *WRITING, f"hydra.run.dir={folder}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-m", "gantrain", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=max(0, min(deadline - time.monotonic(), 1e6)),
        )
        message = (done.stderr.strip().splitlines() or [""])[-1]
        if done.returncode and NOT_FINITE not in message:
            raise RuntimeError(f"exit code {done.returncode}: {message}")
        if done.returncode:
            row["failed"] = message.split(". No weight")[0]
    run = read_run(folder)
    if "failed" not in row:
        values = run.status.metric_values.items()
        row["metric_values"] = {name: round(v, 6) for name, v in values if v is not None and math.isfinite(v)}
    if tracked := BUDGETS[data].tracked:
        measured = [row for row in run.rows if row.get("name") in tracked and row["value"] is not None]
        row["course"] = {
            name: [[r["step"], round(r["value"], 4)] for r in measured if r["name"] == name] for name in tracked
        }
    start = run.starts[-1]
    return row | {
        "seconds": round(time.monotonic() - started, 1),
        "resumed": resumed,
        "device": start["device"],
        "torch": start["versions"]["torch"].split("+")[0],
        "commit": start["git_commit"],
    }


def run_missing(names: list[str], data: str, seeds: tuple[int, ...], jobs: int, minutes: float) -> list[str]:
    """Runs what the tables lack, seed by seed; returns the keys that are still missing."""
    deadline = time.monotonic() + 60 * minutes
    done = finished_runs(data)
    missing = dict.fromkeys(
        key
        for seed in seeds  # a command that stops early leaves complete tables of fewer seeds
        for name in names
        for overrides in TABLES[name].cells()
        if (key := key_of(TABLES[name], data, overrides, seed)) not in done
    )
    print(f"{len(missing)} runs to do, {len(done)} done", file=sys.stderr)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(train, key, data, threads, deadline): key for key in missing}
        for future in as_completed(futures):
            key = futures[future]
            try:
                row = future.result()
            except subprocess.TimeoutExpired:
                continue
            except RuntimeError as error:
                print(f"{key}: {error}", file=sys.stderr, flush=True)
                continue
            del missing[key]
            with runs_file(data).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            values = row.get("failed") or ", ".join(f"{name} {v:.4g}" for name, v in row["metric_values"].items())
            print(f"[{len(missing)} left] {key}: {values} ({row['seconds']} s)", flush=True)
    return list(missing)


def cell_text(rows: list[dict[str, Any]], metric: str, *, with_failures: bool = True) -> str:
    """Mean ± standard deviation over the seeds that finished, and how many failed."""
    values = [row["metric_values"][metric] for row in rows if metric in row.get("metric_values", {})]
    failed = sum("failed" in row for row in rows)
    parts = []
    if values:
        digits = 0 if max(abs(value) for value in values) >= 100 else 2
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        parts.append(f"{statistics.mean(values):.{digits}f}{spread}")
    if failed and with_failures:
        parts.append(f"{failed} of {len(rows)} not finite")
    return ", ".join(parts)


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in cells)


def as_markdown(name: str, data: str) -> str:
    """A table of the finished runs, under the command that makes it; one sentence without runs."""
    table, budget, done = TABLES[name], BUDGETS[data], finished_runs(data)
    found = {
        (row, column): [done[key] for key in (key_of(table, data, overrides, seed) for seed in SEEDS) if key in done]
        for row in table.rows
        for column in table.columns
        if (overrides := table.cell(row, column)) is not None
    }
    command = f"python -m scripts.tables {name}" + ("" if data == "digits" else f" --data {data}")
    finished = [row for rows in found.values() for row in rows]
    if not finished:
        return f"Not measured yet: `{command}`."
    head = ["", *(f"{column}: {title}" for column in table.columns for title in budget.metrics.values())]
    lines = [
        [
            row,
            *(
                cell_text(found.get((row, column), []), metric, with_failures=place == 0)
                for column in table.columns
                for place, metric in enumerate(budget.metrics)
            ),
        ]
        for row in table.rows
    ]
    where = ", ".join(sorted({f"{row['device']}, PyTorch {row['torch']}" for row in finished}))
    commits = ", ".join(sorted({str(row["commit"])[:7] for row in finished}))
    example = f"python -m gantrain {key_of(table, data, next(table.cells()), 0)}"
    counts = sorted({len(rows) for rows in found.values()})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return (
        f"`{command}`, mean ± standard deviation over {seeds} seeds ({where}, commit {commits}); its first run is\n"
        f"`{example}`.\n\n{markdown_table(head, lines)}"
    )


def with_tables(text: str) -> str:
    """The text with the present tables between their marks."""
    return MARK.sub(
        lambda mark: f"<!-- table {mark[1]} {mark[2]} -->\n{as_markdown(mark[1], mark[2])}\n<!-- /table -->", text
    )


def write() -> None:
    """Writes the tables into every page of docs/results."""
    for page in sorted(RESULTS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    """0 when every run is finished, 3 when some are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TABLES)}, or all")
    parser.add_argument("--data", choices=list(BUDGETS), default="digits")
    parser.add_argument("--seeds", type=int, choices=range(1, len(SEEDS) + 1), help="how many; by default the data's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--out", type=Path, help="folder for a copy of the finished runs and of the tables")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/results, run nothing")
    options = parser.parse_args()
    if options.write:
        write()
        return 0
    possible = [name for name, table in TABLES.items() if options.data in table.data]
    names = options.names
    if names == ["all"]:
        names = [name for name in possible if not TABLES[name].on_request]
    if not names or not set(names) <= set(possible):
        parser.error(f"{names}: choose from {possible} for --data {options.data}, or all")
    seeds = SEEDS[: options.seeds or BUDGETS[options.data].seeds]
    missing = run_missing(names, options.data, seeds, options.jobs, options.minutes)
    text = "\n\n".join(f"## {TABLES[name].question}\n\n{as_markdown(name, options.data)}" for name in names)
    print(f"\n{text}\n")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"tables-{options.data}.md").write_text(text + "\n", encoding="utf-8")
        if runs_file(options.data).is_file():
            shutil.copy(runs_file(options.data), options.out)
    print("make readme writes the tables into docs/results", file=sys.stderr)
    if missing:
        print(f"{len(missing)} runs are missing; the same command continues", file=sys.stderr)
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
