"""A figure of the theory: its caption, its source, the numbers behind it, and the files that it becomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]
Table = dict[str, Column]


@dataclass(frozen=True, slots=True)
class TheoryFigure:
    """One figure, computed but not yet drawn.

    Attributes:
        name: of its files, e.g. `1-divergences`.
        title: one line.
        caption: what is seen, in sentences, with the symbols explained.
        source: paper with equation or figure.
        tables: the numbers behind the picture: CSV files NAME.csv, or NAME-KEY.csv for keys other than ''.
            A table's columns have one length.
        draw: takes a matplotlib Figure and draws into it.
        size: of the picture, in inches.
    """

    name: str
    title: str
    caption: str
    source: str
    tables: dict[str, Table]
    draw: Callable[[Any], None]
    size: tuple[float, float] = field(default=(10.0, 6.0))

    def save(self, folder: Path) -> list[Path]:
        """Writes NAME.png, NAME.svg and the tables; returns what was written."""
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        written = []
        with matplotlib.rc_context({"svg.hashsalt": "gantrain", "font.size": 9, "axes.grid": True, "grid.alpha": 0.25}):
            picture = Figure(figsize=self.size, layout="constrained")
            FigureCanvasAgg(picture)
            picture.suptitle(self.title)
            self.draw(picture)
            for suffix in ("png", "svg"):
                path = folder / f"{self.name}.{suffix}"
                picture.savefig(path, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
                written.append(path)
        for key, table in self.tables.items():
            path = folder / (f"{self.name}-{key}.csv" if key else f"{self.name}.csv")
            write_csv(path, table)
            written.append(path)
        return written


def write_csv(path: Path, table: Table) -> None:
    """Columns of one length under their names; floats with 10 digits, NaN as `nan`."""
    columns = [np.asarray(column) for column in table.values()]
    assert len({len(column) for column in columns}) == 1, "columns of one length"
    lines = [",".join(table)]
    for row in zip(*columns, strict=True):
        lines.append(",".join(f"{cell:.10g}" if isinstance(cell, float | np.floating) else str(cell) for cell in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
