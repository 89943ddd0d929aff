"""A comparison as text: what differs, how the runs stand, every figure with its test, and what to mind."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gantrain.config import as_word
from gantrain.report.comparison import ComparedFigure, Point, Reading
from gantrain.report.formatting import counted, direction, named, spread_words, uncertain
from gantrain.report.protocols import OF_DATA
from gantrain.report.run_groups import RunGroup, common_config

MOST_COLUMNS = 6
"""Variants side by side; more stand below each other."""
LONGEST_LABEL = 30
PARTS_OF_DATA = OF_DATA[1:]
"""Not shown with the protocol, which names the data."""


def overview(run_groups: Sequence[RunGroup]) -> RenderableType:
    """The keys that differ and how the runs stand, a column a run_group."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    rows = [["", *(numbered(k) + " (baseline)" * (k == 0 < len(run_groups) - 1) for k in range(len(run_groups)))]]
    rows += [[key, *(as_word(run_group.values[key]) for run_group in run_groups)] for key in run_groups[0].values]
    rows.append(["runs", *(str(len(run_group.runs)) for run_group in run_groups)])
    rows.append(["seeds", *(", ".join(map(str, run_group.seeds)) for run_group in run_groups)])
    rows.append(["states", *(_states(run_group) for run_group in run_groups)])
    if len(run_groups) > MOST_COLUMNS:
        rows = [list(row) for row in zip(*rows, strict=True)]
    table = Table(*rows[0], box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*row)
    words = (
        f"{counted(len(runs), 'run')}, {counted(len(run_groups), 'group')}; {len(common_config(runs))} keys in common"
    )
    return Group(Text(words, style="bold"), table)


def figure_table(figure: ComparedFigure, run_groups: Sequence[RunGroup]) -> RenderableType:
    """A row a run_group at each point of the course, with the difference to the first one and its test."""
    head = Text(named(figure.name), style="bold")
    head.append(f", {direction(figure.lower_is_better)}", style="not bold")
    if figure.differs:
        lines = [Text(f"  {key}: {_by_value(of_values, run_groups)}") for key, of_values in figure.differs.items()]
        refusal = Text("  not compared, for the groups' protocols differ in", style="yellow")
        return Group(head, refusal, *lines, Text(""))
    shown = {key.removesuffix(".name"): value for key, value in figure.protocol.items() if key not in PARTS_OF_DATA}
    words = "; ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in shown.items())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("group", overflow="fold")
    for title in (
        "mean ± std",
        "seeds",
        "difference",
        "95 % interval",
        "p",
        "p (Holm)",
        _ahead(figure.lower_is_better),
    ):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    names = _names(run_groups)
    for point, readings in figure.readings.items():
        for k, reading in enumerate(readings):
            where = point_words(point, [reading]) if reading.steps or k == 0 else ""
            table.add_row(
                where if k == 0 or where != point_words(point, readings[:1]) else "",
                names[k],
                *_cells(reading, figure.lower_is_better),
                end_section=k == len(readings) - 1,
            )
    return Group(head, Text(f"  {words}", style="dim"), table)


def numbered(run_group: int) -> str:
    """A run_group's number in tables and pictures; the baseline is 1."""
    return str(run_group + 1)


def point_words(point: Point, readings: Sequence[Reading]) -> str:
    """A point of the course, with the steps at which it was read."""
    steps = sorted({step for reading in readings for step in reading.steps.values()})
    if isinstance(point, int):
        return f"step {point:,}"
    if not steps:
        return point
    return f"{point}, step {steps[0]:,}" + (f" to {steps[-1]:,}" if len(steps) > 1 else "")


def _cells(reading: Reading, lower_is_better: bool | None) -> Iterator[RenderableType]:
    yield spread_words(reading.spread)
    count, missing = len(reading.values), len(reading.missing)
    yield Text(f"{count} of {count + missing}", style="yellow") if missing else str(count)
    difference = reading.difference
    if difference is None:
        yield from ("", "", "", "", "", "")
        return
    interval, p, p_holm = difference.interval, difference.p, reading.p_holm
    scale = None if interval is None else (interval[1] - interval[0]) / 4  # about the standard error
    yield uncertain(difference.value, scale, sign="+")
    yield f"{uncertain(interval[0], scale)} to {uncertain(interval[1], scale)}" if interval else ""
    yield "" if p is None else _p(p)
    yield "" if p_holm is None else _p(p_holm)
    yield f"{1 - difference.above if lower_is_better else difference.above:.0%}"
    verdict = reading.verdict(lower_is_better)
    yield Text(verdict, style={"better": "green", "worse": "red"}.get(verdict, ""))


def _ahead(lower_is_better: bool | None) -> str:
    return "pairs higher" if lower_is_better is None else "pairs better"


def _names(run_groups: Sequence[RunGroup]) -> list[str]:
    """The labels, or the values alone where one is long: their keys stand in the overview."""
    labels = [run_group.label for run_group in run_groups]
    if max(map(len, labels)) > LONGEST_LABEL:
        labels = [", ".join(map(as_word, run_group.values.values())) or run_group.label for run_group in run_groups]
    return [f"{numbered(k)} {label}" for k, label in enumerate(labels)]


def _states(run_group: RunGroup) -> str:
    return ", ".join(f"{count} {state}" for state, count in Counter(run.state for run in run_group.runs).items())


def _by_value(of_values: dict[str, list[int]], run_groups: Sequence[RunGroup]) -> str:
    return "; ".join(
        f"{value} of {', '.join(f'{numbered(k)} {run_groups[k].label}' for k in which)}"
        for value, which in of_values.items()
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _p(p: float) -> str:
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"
