"""Compares groups in the terminal: each metric over seeds, with tests of the differences to the first group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gantrain.formatting import printable
from gantrain.metrics.registry import lower_is_better
from gantrain.options import ConfigError
from gantrain.report.formatting import (
    SeedMean,
    base_of,
    counted,
    direction,
    mean_and_std,
    named,
    number,
    uncertain,
)
from gantrain.report.protocols import disagreements
from gantrain.report.run_table import BEST, DATA_KEYS, LAST, RunTable
from gantrain.report.significance import LEVEL, Difference, holm, welch
from gantrain.run_io.status import FINISHED

NOT_FINITE, NOT_MEASURED = "not finite", "not measured"
MOST_REASONS = 10
MOST_ROWS = 30
"""Maximum number of groups to print; the page shows all."""

Point = str | int
"""The measurement of a run that is compared: `last`, `best` or a generator step."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric of a group at one point.

    Attributes:
        group: number of the group.
        point: the measurement that is compared.
        values: finite values by seed.
        steps: the steps at which they were measured.
        missing: why a seed has no value, by seed.
        difference: difference to the first group; None for the first group, or if either has no value.
        p_holm: its p-value, corrected for all comparisons of the metric.
    """

    group: int
    point: Point
    values: dict[int, float]
    steps: set[int]
    missing: dict[int, str]
    difference: Difference | None = None
    p_holm: float | None = None

    def verdict(self, lower: bool | None) -> str:
        """`better`, `worse` or `not significant`; '' without a test."""
        if self.difference is None or self.p_holm is None:
            return ""
        if self.p_holm > LEVEL:
            return "not significant"
        if lower is None:
            return "higher" if self.difference.value > 0 else "lower"
        return "better" if (self.difference.value < 0) == lower else "worse"


def choose_metrics(table: RunTable, requested: Sequence[str] | None) -> list[str]:
    """The metrics to compare, with their networks (`fid_ema`): those requested, or the headline metric.

    Raises:
        ConfigError: no run measured a requested metric.
    """
    primary = table.metrics[table.metrics["primary"]]
    measured = list(table.metrics["metric"].unique())
    if requested is None:
        return list(primary.loc[primary["name"] == table.headline, "metric"].unique())[:1]
    chosen: dict[str, None] = {}
    for word in requested:
        found = [metric for metric in measured if word in (metric, base_of(metric), "all")]
        if not found:
            known = ", ".join(dict.fromkeys([*map(base_of, measured), *measured]))
            raise ConfigError(f"metrics={word} was not measured by any run; choose from [{known}]")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def compare(table: RunTable, metric: str, step: Point) -> list[Compared]:
    """A metric of each group, and its difference to the first group; [] if its protocols differ.

    Args:
        table: the runs.
        metric: with its network, e.g. `fid_ema`.
        step: `last` compares the last and the best values, `best` only the best, a number the values at that step.
    """
    if differing_protocols(table, metric):
        return []
    directed = lower_is_better(base_of(metric)) is not None
    points: list[Point] = [LAST, BEST] if step == LAST and directed else [step if directed or step != BEST else LAST]
    of_points = [[_read(table, metric, point, k) for k in range(len(table.groups))] for point in points]
    if len(of_points) == 2 and [row.values for row in of_points[0]] == [row.values for row in of_points[1]]:
        del of_points[1]  # identical comparisons must not be corrected for twice
    rows = []
    for baseline, *others in of_points:
        rows.append(baseline)
        for row in others:
            known = bool(row.values and baseline.values)
            difference = welch(list(row.values.values()), list(baseline.values.values())) if known else None
            rows.append(replace(row, difference=difference))
    tested = [k for k, row in enumerate(rows) if row.difference is not None and row.difference.p is not None]
    for k, p_holm in zip(tested, holm([rows[k].difference.p for k in tested]), strict=True):  # type: ignore[union-attr, misc]
        rows[k] = replace(rows[k], p_holm=p_holm)
    return rows


def differing_protocols(table: RunTable, metric: str) -> dict[str, dict[str, list[int]]]:
    """The parts of a metric's protocol that differ, with the groups that have each value; {} if none differ."""
    rows = table.metrics[table.metrics["metric"] == metric].join(table.runs["group"], on="run")
    groups = {text: sorted(of_text["group"].unique()) for text, of_text in rows.groupby("protocol", sort=False)}
    protocols = {text: json.loads(text) for text in groups}
    found: dict[str, dict[str, list[int]]] = {}
    for key in disagreements(list(protocols.values())):
        for text, protocol in protocols.items():
            of_value = found.setdefault(key, {}).setdefault(str(protocol.get(key, "absent")), [])
            of_value += [group for group in groups[text] if group not in of_value]
    return found


def _read(table: RunTable, metric: str, point: Point, group: int) -> Compared:
    runs = table.runs[table.runs["replicate"] & (table.runs["group"] == group)]
    if isinstance(point, int):
        rows = table.metrics[(table.metrics["metric"] == metric) & (table.metrics["step"] == point)]
        rows = rows.drop_duplicates("run", keep="last").set_index("run")[["value", "step"]]
        rows = rows.set_axis(["value", "at"], axis=1)
    else:
        rows = table.reached[table.reached["metric"] == metric].set_index("run")[[point, f"{point}_step"]]
        rows = rows.set_axis(["value", "at"], axis=1)
    values: dict[int, float] = {}
    steps: set[int] = set()
    missing: dict[int, str] = {}
    for run, seed, state, done in runs[["seed", "state", "done"]].itertuples():
        value, at = rows.loc[run] if run in rows.index else (None, 0)
        ended = state == FINISHED or (isinstance(point, int) and (value is not None or done >= point))
        if not ended:
            missing[seed] = f"{state} at step {done:,}"
        elif value is None:
            missing[seed] = NOT_MEASURED
        elif value != value:
            missing[seed] = NOT_FINITE
        else:
            values[seed] = float(value)
            steps.add(int(at))
    return Compared(group, point, values, steps, missing)


def comparison_table(table: RunTable, metric: str, rows: Sequence[Compared]) -> RenderableType:
    """The metric as text: a row per group, with the difference to the first group and its test."""
    head = Text(named(metric), style="bold").append(f", {direction(base_of(metric))}", style="not bold")
    labels = [f"{place}  {group.label}" for place, group in enumerate(table.groups, start=1)]
    differs = differing_protocols(table, metric)
    if differs:
        lines = [
            Text(
                printable(
                    f"  {key}: " + "; ".join(f"{v} of {', '.join(labels[k] for k in ks)}" for v, ks in of.items())
                )
            )
            for key, of in differs.items()
        ]
        return Group(head, Text("  not compared, because the groups' protocols differ in", style="yellow"), *lines)
    lower = lower_is_better(base_of(metric))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("group", overflow="fold", min_width=24)
    better = "pairs higher" if lower is None else "pairs better"
    for title in ("mean ± std", "seeds", "difference", "95 % interval", "p", "p (Holm)", better, ""):
        shown.add_column(title, justify="right", no_wrap=True)
    for place, row in enumerate(rows):
        if row.group == 0:
            shown.add_row(Text(_point_words(rows, row.point), style="dim"), end_section=False)
        if row.group < MOST_ROWS:
            last = place + 1 == len(rows) or rows[place + 1].point != row.point
            shown.add_row(Text(printable(labels[row.group])), *_cells(row, lower), end_section=last)
    hidden = len(table.groups) - MOST_ROWS
    more = [Text(f"and {hidden} more, on the page", "dim")] if hidden > 0 else []
    return Group(head, Text(printable(f"  {_protocol_words(table, metric)}"), style="dim"), shown, *more)


def _cells(row: Compared, lower: bool | None) -> Iterator[RenderableType]:
    import numpy as np

    values, missing = list(row.values.values()), len(row.missing)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    yield mean_and_std(SeedMean.of(float(np.mean(values)), std, len(values)) if values else None)
    yield Text(f"{len(values)} of {len(values) + missing}", style="yellow") if missing else str(len(values))
    difference = row.difference
    if difference is None:
        return
    interval = difference.interval
    scale = None if interval is None else (interval[1] - interval[0]) / 4  # about the standard error
    yield uncertain(difference.value, scale, sign="+")
    yield f"{uncertain(interval[0], scale)} to {uncertain(interval[1], scale)}" if interval else ""
    for p in (difference.p, row.p_holm):
        yield "" if p is None else "<0.0001" if p < 1e-4 else f"{p:.2g}"
    yield f"{1 - difference.above if lower else difference.above:.0%}"
    verdict = row.verdict(lower)
    yield Text(verdict, style={"better": "green", "worse": "red"}.get(verdict, ""))


def _point_words(rows: Sequence[Compared], point: Point) -> str:
    """`best, steps 100 to 400`."""
    if isinstance(point, int):
        return f"step {point:,}"
    steps = sorted(set().union(*(row.steps for row in rows if row.point == point)))
    if len(steps) < 2:
        return f"{point}, step {steps[0]:,}" if steps else point
    return f"{point}, steps {steps[0]:,} to {steps[-1]:,}"


def _protocol_words(table: RunTable, metric: str) -> str:
    protocol: dict[str, Any] = json.loads(table.metrics.loc[table.metrics["metric"] == metric, "protocol"].iloc[0])
    parts = {key: value for key, value in protocol.items() if key not in ("network", *DATA_KEYS[1:])}
    return "; ".join(
        f"{key.removesuffix('.name').replace('_', ' ')} {number(value) if isinstance(value, float | int) else value}"
        for key, value in parts.items()
    )


def notes(table: RunTable, compared: dict[str, list[Compared]]) -> Iterator[str]:
    """Notes on the comparison: the test, missing values with reasons, and repeated seeds."""
    rows = [(metric, row) for metric, of_metric in compared.items() for row in of_metric]
    if any(row.p_holm is not None for _, row in rows):
        yield (
            "Differences are to group 1, by Welch's t-test over seeds. p (Holm) is corrected for all comparisons of a "
            f"metric; groups with p up to {LEVEL:g} are called better or worse. Intervals are not corrected."
        )
    single = [str(k + 1) for k, group in enumerate(table.groups) if len(group.replicates) == 1]
    if single and len(table.groups) > 1:
        yield f"No significance without several seeds (group {', '.join(single)}): -m seed=0,1,2,3,4 trains five."
    for metric in compared:
        counts = table.reached.loc[
            (table.reached["metric"] == metric) & table.reached["replicate"] & (table.reached["state"] == FINISHED),
            "count",
        ]
        if counts.nunique() > 1 and any(row.point == BEST for row in compared[metric]):
            yield (
                f"The best {named(metric)} is the best of {counts.min()} to {counts.max()} measurements per run; more "
                "measurements favor a run."
            )
    reasons: dict[tuple[int, str], set[int]] = {}
    for metric, row in rows:
        for seed, why in row.missing.items():
            about = f"{why}: {named(metric)}" if why in (NOT_FINITE, NOT_MEASURED) else why
            reasons.setdefault((row.group, about), set()).add(seed)
    for (k, why), seeds in list(reasons.items())[:MOST_REASONS]:
        runs = table.runs[(table.runs["group"] == k) & table.runs["replicate"]]
        reason = next((f": {text}" for text in runs.loc[runs["seed"].isin(seeds), "reason"] if text), "")
        yield f"{k + 1}: {len(seeds)} of {len(runs)} {why} (seed {', '.join(map(str, sorted(seeds)))}){reason}"
    if len(reasons) > MOST_REASONS:
        yield f"and {len(reasons) - MOST_REASONS} more such notes"
    if reasons:
        yield "A mean over the remaining seeds favors groups whose worst seeds are missing."
    for k, group in enumerate(table.groups):
        if repeated := len(group.runs) - len(group.replicates):
            yield f"{k + 1}: {counted(repeated, 'run')} with a repeated seed; only one run per seed counts."
