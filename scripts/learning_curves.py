"""Draws modes over training of the table `toys` into docs/results: python -m scripts.learning_curves."""

import sys
from pathlib import Path

import numpy as np

from scripts.comparisons import TABLES
from scripts.tables import RESULTS, SEEDS, finished_runs, key_of

PICTURE = RESULTS / "toys.png"
SETS = {"ring of 8": 8, "grid of 25": 25}
RULES = ("Poole", "exact", "exact, normalized")
COLOURS = {"alt": "#000000", "rkl": "#0072B2", "js": "#E69F00", "hellinger": "#009E73", "kl": "#D55E00"}
"""Okabe and Ito's, told apart by color-blind readers."""


def courses(row: str, column: str, figure: str) -> list[tuple[list[float], list[float], bool]]:
    """Of each run of a cell: the steps measured, the figure's values, and whether it was finite to the end."""
    table, done = TABLES["toys"], finished_runs("points")
    overrides = table.cell(row, column)
    assert overrides is not None
    runs = [done.get(key_of(table, "points", overrides, seed), {}) for seed in SEEDS]
    found = [(run["course"][figure], "failed" not in run) for run in runs if run.get("course", {}).get(figure)]
    return [([step for step, _ in course], [value for _, value in course], whole) for course, whole in found]


def row_of(gen: str, rule: str) -> str:
    """The table's row of a generator by a rule: alt has none, and rkl's have one gradient."""
    return {"alt": "alt", "rkl": "rkl, any rule"}.get(gen, f"{gen}, {rule}")


def draw(path: Path) -> None:
    """One panel a set and rule: thin lines are seeds, crosses where one was not finite, thick means of the rest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    picture = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(len(SETS), len(RULES), sharex=True, sharey="row")
    for line, (column, most) in zip(panels, SETS.items(), strict=True):
        for panel, rule in zip(line, RULES, strict=True):
            for gen, color in COLOURS.items():
                runs = courses(row_of(gen, rule), column, "modes")
                for steps, values, whole in runs:
                    panel.plot(steps, values, color=color, lw=0.6, alpha=0.5)
                    if not whole:
                        panel.plot(steps[-1], values[-1], "x", color=color, ms=6)
                finished = [values for _, values, whole in runs if whole]
                if finished:
                    steps = next(steps for steps, _, whole in runs if whole)
                    panel.plot(steps, np.mean(finished, axis=0), color=color, lw=2)
            panel.axhline(most, color="0.6", lw=0.8, ls=":")
            panel.set_title(f"{column}: {rule} rule" if rule != RULES[2] else f"{column}: {rule} ratio")
            panel.grid(alpha=0.25)
        line[0].set_ylabel("modes covered")
    for panel in panels[-1]:
        panel.set_xlabel("generator step")
    handles = [Line2D([], [], color=color, lw=2, label=gen) for gen, color in COLOURS.items()]
    handles.append(Line2D([], [], color="0.3", marker="x", ls="", label="not finite"))
    picture.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    picture.savefig(path, dpi=110)


def main() -> int:
    """0 when the picture is written."""
    draw(PICTURE)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
