"""Runs the comparisons of docs/results and writes their tables: python -m scripts.tables NAME.

A table (see scripts/comparisons.py) is rows × columns × seeds, each a run of gantrain. A finished run is one line of
docs/results/runs-DATA.jsonl, under its overrides and seed: it is never run again, and tables share it. A command
that is cut off, or ends because its `--minutes` are up, goes on when it is given again: runs that were under
way continue from their last checkpoint.

    python -m scripts.tables pairs                                # five seeds on the digits, a process a core
    python -m scripts.tables all --data cifar10 --minutes 8.5     # a part of the GPU's tables
    python -m scripts.tables --write                              # docs/results anew from the runs that there are
"""

import argparse
import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import queue
import re
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from scripts.comparisons import BUDGETS, TABLES, Overrides, Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
RUNS = ROOT / "outputs" / "tables"
SEEDS = (0, 1, 2, 3, 4)
MARK = re.compile(r"<!-- table (\w+) (\w+) -->\n.*?<!-- /table -->", re.DOTALL)

WRITING = ("log.grids_every_steps=1000000000", "log.checkpoint_every_steps=200")
"""What changes no figure: no grids, and checkpoints that a part of minutes reaches."""


def key_of(table: Table, data: str, overrides: Overrides, seed: int) -> str:
    """What a run is found by: its whole command line, a cell's own overrides in alphabetical order."""
    return " ".join((*words_of(table, data), *sorted(overrides), f"seed={seed}"))


def words_of(table: Table, data: str) -> Overrides:
    """What stands before a cell's own overrides."""
    budget = BUDGETS[data]
    return budget.measuring if table.own_length else (*budget.length, *budget.measuring)


def runs_file(data: str) -> Path:
    """The finished runs of a data set."""
    return RESULTS / f"runs-{data}.jsonl"


def finished_runs(data: str) -> dict[str, dict[str, Any]]:
    """Every finished run by its key."""
    path = runs_file(data)
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["run"]: row for row in rows}


def folder_of(key: str, data: str) -> Path:
    """Where a run lies: the same place whenever it is taken up."""
    return RUNS / data / hashlib.sha1(key.encode()).hexdigest()[:10]


def train(key: str, data: str, folder: Path, commit: str | None) -> dict[str, Any]:
    """One run in this process, from its last checkpoint if there is one, as one line of the results."""
    import torch

    from gantrain import builders
    from gantrain.cli import compose_config
    from gantrain.config import from_omegaconf
    from gantrain.training.checkpoint import LAST, load_checkpoint
    from gantrain.training.nan_guard import NotFiniteError

    state, started = None, time.monotonic()
    row: dict[str, Any] = {"run": key}
    try:
        with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            if (folder / LAST).is_file():
                state = load_checkpoint(folder / LAST)
                figures = state["metric_values"]
                if state["step"] < state["config"]["schedule"]["steps"]:
                    config, state = builders.resumed_config(folder, {})
                    figures = builders.run(config, folder, state).metric_values
            else:
                shutil.rmtree(folder, ignore_errors=True)  # cut off before its first checkpoint: nothing is in it
                figures = builders.run(from_omegaconf(compose_config([*key.split(), *WRITING])), folder).metric_values
        row["metric_values"] = {name: round(value, 6) for name, value in figures.items() if math.isfinite(value)}
    except NotFiniteError as error:
        row["failed"] = str(error).split(". No weight")[0]
    tracked = BUDGETS[data].tracked
    if tracked:
        row["course"] = course_of(folder, tracked)
    device = builders.make_device("auto")
    row |= {
        "seconds": round(time.monotonic() - started, 1),
        "resumed": state is not None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__.split("+")[0],
        "commit": commit,
    }
    return row


def course_of(folder: Path, tracked: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """The measurements of a run by name, each as [step, value]."""
    from gantrain.run_io.metrics_jsonl import METRICS, read_rows

    rows = [row for row in read_rows(folder / METRICS) if row.get("name") in tracked and row["value"] is not None]
    return {name: [[row["step"], round(row["value"], 4)] for row in rows if row["name"] == name] for name in tracked}


def _work(tasks: Any, results: Any, data: str, threads: int) -> None:
    """A worker: runs tasks until there are none."""
    import torch
    from tqdm import tqdm

    from gantrain.run_io.run_folder import git_commit

    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed worker would leave
    torch.set_num_threads(threads)
    commit = git_commit()  # of the code that is loaded now
    while True:
        task = tasks.get()
        if task is None:
            return
        key, folder = task
        try:
            results.put(train(key, data, folder, commit))
        except Exception as error:
            results.put({"run": key, "error": f"{type(error).__name__}: {error}"})


def run_missing(names: list[str], data: str, seeds: tuple[int, ...], jobs: int, minutes: float) -> list[str]:
    """Runs what the tables lack, seed by seed; the keys that are still missing when the time is up.

    A run that ends in an error of gantrain's own is said and stays missing.
    """
    deadline = time.monotonic() + 60 * minutes
    done = finished_runs(data)
    missing: list[str] = []
    for seed in seeds:  # all of a seed first: what is cut off has whole tables of fewer seeds
        for name in names:
            for overrides in TABLES[name].cells():
                key = key_of(TABLES[name], data, overrides, seed)
                if key not in done and key not in missing:
                    missing.append(key)
    print(f"{len(missing)} runs to do, {len(done)} done", file=sys.stderr)
    jobs = min(jobs, len(missing))
    if not jobs:
        return []
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    for key in missing:
        tasks.put((key, folder_of(key, data)))
    for _ in range(jobs):
        tasks.put(None)
    arguments = (tasks, results, data, max(1, (os.cpu_count() or 1) // jobs))
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    left = dict.fromkeys(missing)
    answers, up = 0, False
    while answers < len(missing):
        try:
            row = results.get(timeout=1)
        except queue.Empty:
            if up or not any(worker.is_alive() for worker in workers):
                break  # after a last look at what has been answered
            up = time.monotonic() > deadline
            continue
        up = time.monotonic() > deadline
        answers += 1
        if "error" in row:
            print(f"{row['run']}: {row['error']}", file=sys.stderr, flush=True)
            continue
        del left[row["run"]]
        with runs_file(data).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        figures = row.get("failed") or ", ".join(f"{name} {value:.4g}" for name, value in row["metric_values"].items())
        print(f"[{len(left)} left] {row['run']}: {figures} ({row['seconds']} s)", flush=True)
    for worker in workers:
        worker.kill()  # a run's checkpoint is whole at any moment
    for worker in workers:
        worker.join()
    tasks.cancel_join_thread()  # what nobody will read must not hold up the end
    tasks.close()
    results.close()
    return list(left)


def cell_text(rows: list[dict[str, Any]], figure: str, *, with_failures: bool = True) -> str:
    """Mean ± standard deviation over the seeds that finished, and how many of them did not."""
    values = [row["metric_values"][figure] for row in rows if figure in row.get("metric_values", {})]
    failed = sum("failed" in row for row in rows)
    parts = []
    if values:
        digits = 0 if max(abs(value) for value in values) >= 100 else 2
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        parts.append(f"{statistics.mean(values):.{digits}f}{spread}")
    if failed and with_failures:
        parts.append(f"{failed} of {len(rows)} not finite")
    return ", ".join(parts) or "–"


def as_markdown(name: str, data: str) -> str:
    """A table from the runs that there are, under the command that makes it."""
    table, budget = TABLES[name], BUDGETS[data]
    done = finished_runs(data)
    found = {
        (row, column): [done[key] for key in (key_of(table, data, overrides, seed) for seed in SEEDS) if key in done]
        for row in table.rows
        for column in table.columns
        if (overrides := table.cell(row, column)) is not None
    }
    head = ["", *(f"{column}: {title}" for column in table.columns for title in budget.figures.values())]
    lines = [head, ["---"] * len(head)]
    for row in table.rows:
        cells = [
            cell_text(found.get((row, column), []), name, with_failures=place == 0)
            for column in table.columns
            for place, name in enumerate(budget.figures)
        ]
        lines.append([row, *cells])
    seeds = sorted({len(rows) for rows in found.values()})
    rows_of_all = [row for rows in found.values() for row in rows]
    where = ", ".join(sorted({f"{row['device']}, PyTorch {row['torch']}" for row in rows_of_all})) or "not run yet"
    commits = ", ".join(sorted({str(row["commit"])[:7] for row in rows_of_all}))
    where += f", commit {commits}" if commits else ""
    command = f"python -m scripts.tables {name}" + ("" if data == "digits" else f" --data {data}")
    example = f"python -m gantrain {key_of(table, data, next(table.cells()), 0)}"
    span = " to ".join(str(count) for count in dict.fromkeys((seeds[0], seeds[-1])))
    return "\n".join(
        [
            f"`{command}`, mean ± standard deviation over {span} seeds ({where}); its first run is",
            f"`{example}`.",
            "",
            *("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines),
        ]
    )


def with_tables(text: str) -> str:
    """The text with every table between its marks made anew."""
    return MARK.sub(
        lambda mark: f"<!-- table {mark[1]} {mark[2]} -->\n{as_markdown(mark[1], mark[2])}\n<!-- /table -->", text
    )


def write() -> None:
    """Every page of docs/results anew."""
    for page in sorted(RESULTS.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    """0 when every run asked for is there, 3 when some are still missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TABLES)}, or all")
    parser.add_argument("--data", choices=list(BUDGETS), default="digits")
    parser.add_argument("--seeds", type=int, help="how many of the five seeds; the data set's own number otherwise")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop then; the same command goes on later")
    parser.add_argument("--out", type=Path, help="folder for a copy of the finished runs and of the tables")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/results, run nothing")
    chosen = parser.parse_args()
    if chosen.write:
        write()
        return 0
    fitting = [name for name, table in TABLES.items() if chosen.data in table.data]
    usual = [name for name in fitting if not TABLES[name].on_request]
    names = usual if chosen.names == ["all"] else chosen.names
    unknown = [name for name in names if name not in fitting]
    if unknown or not names:
        parser.error(f"{unknown or 'no table named'}: choose from {fitting} for --data {chosen.data}, or all")
    if chosen.seeds is not None and not 1 <= chosen.seeds <= len(SEEDS):
        parser.error(f"--seeds {chosen.seeds}: there are 1 to {len(SEEDS)}")
    if chosen.jobs < 1 or not chosen.minutes > 0:
        parser.error("--jobs and --minutes must be above 0")
    seeds = SEEDS[: chosen.seeds or BUDGETS[chosen.data].seeds]
    missing = run_missing(names, chosen.data, seeds, chosen.jobs, chosen.minutes)
    text = "\n\n".join(f"## {TABLES[name].question}\n\n{as_markdown(name, chosen.data)}" for name in names)
    print(f"\n{text}\n")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / f"tables-{chosen.data}.md").write_text(text + "\n", encoding="utf-8")
        if runs_file(chosen.data).is_file():
            shutil.copy(runs_file(chosen.data), chosen.out)
    print("make readme writes the tables into docs/results", file=sys.stderr)
    if missing:
        print(f"{len(missing)} runs are still missing; the same command goes on", file=sys.stderr)
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
