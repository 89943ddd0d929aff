"""Draws modes over training of the table `toys` into docs/results: python -m scripts.courses."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from scripts.comparisons import TABLES
from scripts.tables import RESULTS, SEEDS, finished_runs, key_of

PICTURE = RESULTS / "toys.png"
SETS = {"ring of 8": 8, "grid of 25": 25}
RULES = ("Poole", "exact", "exact, normalised")
COLOURS = {"alt": "#000000", "rkl": "#0072B2", "js": "#E69F00", "hellinger": "#009E73", "kl": "#D55E00"}
"""Okabe and Ito's, told apart by colour-blind readers."""


def courses(row: str, column: str, figure: str) -> tuple[list[float], Any]:
    """The steps measured, and the figure's values (seeds, steps) of the finished runs of a cell."""
    table, done = TABLES["toys"], finished_runs("points")
    overrides = table.cell(row, column)
    assert overrides is not None
    keys = [key_of(table, "points", overrides, seed) for seed in SEEDS]
    found = [done[key]["course"][figure] for key in keys if "course" in done.get(key, {})]
    if not found:
        return [], np.empty((0, 0))
    return [step for step, _ in found[0]], np.array([[value for _, value in run] for run in found])


def row_of(gen: str, rule: str) -> str:
    """The table's row of a generator by a rule: alt has none, and rkl's have one gradient."""
    return {"alt": "alt", "rkl": "rkl, any rule"}.get(gen, f"{gen}, {rule}")


def draw(path: Path) -> None:
    """One panel a set and rule; lines are means over seeds, bands their standard deviation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(len(SETS), len(RULES), sharex=True, sharey="row")
    for line, (column, most) in zip(panels, SETS.items(), strict=True):
        for panel, rule in zip(line, RULES, strict=True):
            for gen, colour in COLOURS.items():
                steps, values = courses(row_of(gen, rule), column, "modes")
                if not steps:
                    continue
                mean, spread = values.mean(axis=0), values.std(axis=0)
                panel.plot(steps, mean, color=colour, label=gen, lw=1.6)
                panel.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.13, lw=0)
            panel.axhline(most, color="0.6", lw=0.8, ls=":")
            panel.set_title(f"{column}: {rule} rule" if rule != RULES[2] else f"{column}: {rule} ratio")
            panel.grid(alpha=0.25)
        line[0].set_ylabel("modes covered")
    for panel in panels[-1]:
        panel.set_xlabel("generator step")
    panels[0][0].legend(title="loss.gen", fontsize=8)
    picture.savefig(path, dpi=110)


def main() -> int:
    """0 when the picture is written."""
    draw(PICTURE)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
