"""A theory figure with caption, source and data, its files, and the page that shows several figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Table = dict[str, npt.NDArray[Any]]
"""Columns of one length by their names."""

_STYLE = (
    "body{max-width:1100px;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif;color:#111;background:#fff}"
    "figure{margin:3em 0}img{width:100%;height:auto}figcaption{font-size:15px}.source{color:#555;font-size:14px}"
)


@dataclass(frozen=True, slots=True)
class TheoryFigure:
    """A figure that has been computed but not yet drawn.

    Attributes:
        name: stem of its files, e.g. `1-divergences`.
        title: one line.
        caption: what the figure shows, in sentences, with the symbols explained.
        source: paper with equation or figure.
        tables: the data of the figure: NAME.csv for the key '', NAME-KEY.csv for others.
        draw: draws into the matplotlib Figure it is given.
        size: width and height in inches.
    """

    name: str
    title: str
    caption: str
    source: str
    tables: dict[str, Table]
    draw: Callable[[Any], None]
    size: tuple[float, float] = (10.0, 6.0)

    @property
    def table_files(self) -> dict[str, str]:
        """The tables' file names, by their keys."""
        return {key: f"{self.name}-{key}.csv" if key else f"{self.name}.csv" for key in self.tables}

    def save(self, folder: Path) -> list[Path]:
        """Writes NAME.png, NAME.svg and the tables, and returns their paths."""
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        pictures = [folder / f"{self.name}.png", folder / f"{self.name}.svg"]
        with matplotlib.rc_context({"svg.hashsalt": "gantrain", "font.size": 9, "axes.grid": True, "grid.alpha": 0.25}):
            picture = Figure(figsize=self.size, layout="constrained")
            FigureCanvasAgg(picture)
            picture.suptitle(self.title)
            self.draw(picture)
            for path in pictures:
                picture.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        tables = [folder / file for file in self.table_files.values()]
        for path, table in zip(tables, self.tables.values(), strict=True):
            write_csv(path, table)
        return pictures + tables


def concatenate(blocks: Iterable[dict[str, Any]]) -> Table:
    """One table of several blocks of rows.

    Args:
        blocks: the same columns in each: tensors of the block's length, or one value for all rows of the block.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for block in blocks:
        length = next(len(column) for column in block.values() if isinstance(column, torch.Tensor))
        for name, column in block.items():
            is_tensor = isinstance(column, torch.Tensor)
            values = column.detach().numpy() + 0.0 if is_tensor else np.full(length, column)  # + 0.0: no negative zero
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def from_rows(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    """A table of rows of mixed types; at least one row."""
    columns = zip(*rows, strict=True)
    return {name: np.array(column, dtype=object) for name, column in zip(head, columns, strict=True)}


def write_csv(path: Path, table: Table) -> None:
    """Writes the columns under their names; floats with 10 digits, NaN as `nan`."""
    lines = [",".join(table)]
    for row in zip(*table.values(), strict=True):
        lines.append(",".join(f"{cell:.10g}" if isinstance(cell, float | np.floating) else str(cell) for cell in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_html(figures: list[TheoryFigure], command: str) -> str:
    """One page of all figures, which loads nothing from the network.

    Args:
        figures: saved in the page's folder.
        command: the command that made them.
    """
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        f"<title>gantrain: theory</title>\n<style>{_STYLE}</style>",
        "<h1>What the theory predicts</h1>",
        "<p>Computed from the objectives that training uses. q is the data's density, p the generator's, r = q/p, v "
        f"the discriminator's logit, D = σ(log r). Made by <code>{escape(command)}</code>.</p>",
    ]
    for figure in figures:
        name, title = escape(figure.name), escape(figure.title)
        files = (f"{figure.name}.svg", *figure.table_files.values())
        links = ", ".join(f'<a href="{escape(file)}">{escape(file)}</a>' for file in files)
        parts.append(
            f'<figure id="{name}">\n<h2>{name.partition("-")[0]}. {title}</h2>\n'
            f'<a href="{name}.svg"><img src="{name}.png" alt="{title}"></a>\n'
            f"<figcaption>{escape(figure.caption)}</figcaption>\n"
            f'<p class="source">Source: {escape(figure.source)}<br>Files: {links}</p>\n</figure>'
        )
    return "\n".join([*parts, "</html>"]) + "\n"
