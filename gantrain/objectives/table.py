"""The table of objectives as text, for `--help` and the README."""

from gantrain.objectives.divergences import DIVERGENCES, Divergence, alpha_divergence
from gantrain.objectives.other_losses import GENERATOR_RULES, MARGIN_DISCRIMINATORS

NOTATION = (
    "v: the discriminator's output, r = q/p: data density over generator's, u = r in formulas, "
    "sp(x) = log(1+e^x), ω: Wright's omega function."
)


def _divergences() -> tuple[Divergence, ...]:
    return (*DIVERGENCES.values(), alpha_divergence(0.5))


def discriminator_rows() -> list[tuple[str, str, str]]:
    """Rows (name, loss on real and on fake, meaning and source) of `loss.disc`."""
    rows = [(d.name, d.disc_formula, f"{d.title} ({d.source})") for d in _divergences()]
    rows += [(d.name, d.formula, f"{d.title} ({d.source})") for d in MARGIN_DISCRIMINATORS.values()]
    return rows


def generator_rows() -> list[tuple[str, str, str, str]]:
    """Rows (name, loss with rule=poole, loss with rule=exact, what it needs) of `loss.gen`."""
    rows = [(g.name, g.formula, "", g.needs) for g in GENERATOR_RULES.values()]
    rows += [(d.name, d.f_formula, d.exact_formula, "a discriminator that estimates r") for d in _divergences()]
    return rows


DISCRIMINATOR_HEAD = ("loss.disc", "on real, on fake", "meaning")
GENERATOR_HEAD = ("loss.gen", "rule=poole", "rule=exact", "needs")


def as_text() -> str:
    """Both tables in columns, for a terminal."""
    parts = [NOTATION]
    for head, rows in ((DISCRIMINATOR_HEAD, discriminator_rows()), (GENERATOR_HEAD, generator_rows())):
        table = [head, *rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(head) - 1)]
        lines = (
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in table
        )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def as_markdown() -> str:
    """Both tables in Markdown, for the README."""
    parts = [NOTATION]
    for head, rows in ((DISCRIMINATOR_HEAD, discriminator_rows()), (GENERATOR_HEAD, generator_rows())):
        cells = [[f"`{row[0]}`", *(cell.replace("|", "\\|") for cell in row[1:])] for row in rows]
        lines = ["| " + " | ".join(line) + " |" for line in [list(head), ["---"] * len(head), *cells]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
