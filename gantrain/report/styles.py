"""Style and label of each group, the same everywhere on the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from gantrain.formatting import as_word
from gantrain.report.run_groups import RunGroup

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe & Ito's colors, which any kind of color vision can distinguish; their yellow is darkened for a white page."""
DASHES = {"solid": "", "dash": "7 3", "dot": "2 2.5", "dashdot": "7 2.5 2 2.5", "longdash": "13 4"}
"""Plotly's names of dashes, and SVG's `stroke-dasharray` for each."""
MOST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """Color and dash of a group; the dash changes after all colors have been used."""

    color: str
    dash: str

    @property
    def dasharray(self) -> str:
        """The dash for SVG."""
        return DASHES[self.dash]


def line_of(place: int) -> Line:
    """The style of the group with this number; the first forty differ."""
    return Line(COLORS[place % len(COLORS)], list(DASHES)[place // len(COLORS) % len(DASHES)])


def short_labels(groups: Sequence[RunGroup]) -> list[str]:
    """Labels of the values without their keys: `gan · kl`; of many keys the first few after the group's number."""
    found = []
    for number, group in enumerate(groups, start=1):
        words = [as_word(value) for value in group.values.values()]
        if len(words) > MOST_WORDS:
            found.append(f"{number}: {' · '.join(words[:MOST_WORDS])} …")
        else:
            found.append(" · ".join(words) or group.label)
    return found
