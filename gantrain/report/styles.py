"""How each run_group is drawn and named wherever it appears on the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from gantrain.config import as_word
from gantrain.report.run_groups import RunGroup

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe & Ito's colors, told apart with any kind of color vision; their yellow, which white swallows, is darkened."""
DASHES = {"solid": "", "dash": "7 3", "dot": "2 2.5", "dashdot": "7 2.5 2 2.5", "longdash": "13 4"}
"""Plotly's names of dashes and SVG's `stroke-dasharray` for each."""
MOST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """Color and dash of a run_group: the dash changes when the colors are used up."""

    color: str
    dash: str

    @property
    def dasharray(self) -> str:
        """The dash for SVG."""
        return DASHES[self.dash]


def line_of(place: int) -> Line:
    """Of the run_group at this place; forty differ."""
    return Line(COLORS[place % len(COLORS)], list(DASHES)[place // len(COLORS) % len(DASHES)])


def short_labels(run_groups: Sequence[RunGroup]) -> list[str]:
    """Labels without what is clear from the columns beside them: the values alone, `gan · kl`.

    Of many varied keys the first few, and the run_group's number, which keeps them apart.
    """
    found = []
    for number, run_group in enumerate(run_groups, start=1):
        words = [as_word(value) for value in run_group.values.values()]
        if len(words) > MOST_WORDS:
            found.append(f"{number}: {' · '.join(words[:MOST_WORDS])} …")
        else:
            found.append(" · ".join(words) or run_group.label)
    return found
