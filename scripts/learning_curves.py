"""Plots covered modes over training for the table `toys` into docs/results: python -m scripts.learning_curves."""

import sys
from pathlib import Path

import numpy as np

from scripts.comparisons import TABLES
from scripts.tables import RESULTS, SEEDS, finished_runs, key_of

PLOT = RESULTS / "toys.png"
SETS = {"ring of 8": 8, "grid of 25": 25}
RULES = ("Poole", "exact", "exact, normalized")
COLORS = {"alt": "#000000", "rkl": "#0072B2", "js": "#E69F00", "hellinger": "#009E73", "kl": "#D55E00"}
"""Okabe and Ito's colors, which color-blind readers can distinguish."""


Curve = tuple[list[float], list[float], bool]


def curves(row: str, column: str, metric: str) -> list[Curve]:
    """For each run of a cell: steps, values, and whether its losses were finite to the end."""
    table, done = TABLES["toys"], finished_runs("points")
    overrides = table.cell(row, column)
    assert overrides is not None
    runs = [done.get(key_of(table, "points", overrides, seed), {}) for seed in SEEDS]
    found = [(run["course"][metric], "failed" not in run) for run in runs if run.get("course", {}).get(metric)]
    return [([step for step, _ in points], [value for _, value in points], finite) for points, finite in found]


def row_of(gen: str, rule: str) -> str:
    """The table's row of a generator with a rule: alt has no rule, and those of rkl have the same gradient."""
    return {"alt": "alt", "rkl": "rkl, any rule"}.get(gen, f"{gen}, {rule}")


def draw(path: Path) -> None:
    """A panel per data set and rule: thin lines are seeds, thick ones their means; crosses mark losses not finite."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(SETS), len(RULES), sharex=True, sharey="row")
    for line, (column, most) in zip(panels, SETS.items(), strict=True):
        for panel, rule in zip(line, RULES, strict=True):
            for gen, color in COLORS.items():
                runs = curves(row_of(gen, rule), column, "modes")
                for steps, values, finite in runs:
                    panel.plot(steps, values, color=color, lw=0.6, alpha=0.5)
                    if not finite:
                        panel.plot(steps[-1], values[-1], "x", color=color, ms=6)
                finished = [values for _, values, finite in runs if finite]
                if finished:
                    steps = next(steps for steps, _, finite in runs if finite)
                    panel.plot(steps, np.mean(finished, axis=0), color=color, lw=2)
            panel.axhline(most, color="0.6", lw=0.8, ls=":")
            panel.set_title(f"{column}: {rule} rule" if rule != RULES[2] else f"{column}: {rule} ratio")
            panel.grid(alpha=0.25)
        line[0].set_ylabel("modes covered")
    for panel in panels[-1]:
        panel.set_xlabel("generator step")
    handles = [Line2D([], [], color=color, lw=2, label=gen) for gen, color in COLORS.items()]
    handles.append(Line2D([], [], color="0.3", marker="x", ls="", label="not finite"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.savefig(path, dpi=110)


def main() -> int:
    """Draws the plot."""
    draw(PLOT)
    print(PLOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
