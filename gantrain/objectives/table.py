"""The table of objectives as text, for `--help` and the README."""

from gantrain.objectives.divergences import Divergence, divergence_names, get_divergence
from gantrain.objectives.other_losses import DISCRIMINATOR_LOSSES, GENERATOR_LOSSES

NOTATION = (
    "v: the discriminator's output, r = q/p: data density over generator's, u = r in formulas, "
    "sp(x) = log(1+e^x), ω: Wright's omega function."
)
DISCRIMINATOR_HEAD = ("loss.disc", "on real, on fake", "meaning")
GENERATOR_HEAD = ("loss.gen", "rule=poole", "rule=exact", "needs")

Row = tuple[str, ...]


def discriminator_rows() -> list[Row]:
    """Rows (name, loss on real and on fake, meaning and source) of `loss.disc`."""
    rows: list[Row] = [(d.name, d.disc_formula, f"{d.title} ({d.source})") for d in _divergences()]
    rows += [(d.name, d.formula, f"{d.title} ({d.source})") for d in DISCRIMINATOR_LOSSES.values()]
    return rows


def generator_rows() -> list[Row]:
    """Rows (name, loss with rule=poole, loss with rule=exact, what it needs) of `loss.gen`."""
    rows: list[Row] = [(g.name, g.formula, "", g.needs) for g in GENERATOR_LOSSES.values()]
    rows += [(d.name, d.f_formula, d.exact_formula, "a discriminator that estimates r") for d in _divergences()]
    return rows


def as_text() -> str:
    """Both tables in columns, for a terminal."""
    return "\n\n".join([NOTATION, *(_columns(head, rows) for head, rows in _tables())])


def as_markdown() -> str:
    """Both tables in Markdown, for the README."""
    return "\n\n".join([NOTATION, *(_markdown(head, rows) for head, rows in _tables())])


def _divergences() -> list[Divergence]:
    return [get_divergence(name) for name in divergence_names()]


def _tables() -> tuple[tuple[Row, list[Row]], ...]:
    return (DISCRIMINATOR_HEAD, discriminator_rows()), (GENERATOR_HEAD, generator_rows())


def _columns(head: Row, rows: list[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    widths[-1] = 0  # nothing follows the last column
    return "\n".join("  ".join(map(str.ljust, row, widths)) for row in (head, *rows))


def _markdown(head: Row, rows: list[Row]) -> str:
    cells = [[f"`{row[0]}`", *(cell.replace("|", "\\|") for cell in row[1:])] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *cells))
