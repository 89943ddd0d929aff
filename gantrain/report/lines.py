"""How each variant is drawn and named wherever it appears on the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from gantrain.config import as_word
from gantrain.report.variants import Variant

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Okabe & Ito's colours, told apart with any kind of colour vision; their yellow, which white swallows, is darkened."""
DASHES = {"solid": "", "dash": "7 3", "dot": "2 2.5", "dashdot": "7 2.5 2 2.5", "longdash": "13 4"}
"""Plotly's names of dashes and SVG's `stroke-dasharray` for each."""
MOST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """Colour and dash of a variant: the dash changes when the colours are used up."""

    color: str
    dash: str

    @property
    def dasharray(self) -> str:
        """The dash for SVG."""
        return DASHES[self.dash]


def line_of(place: int) -> Line:
    """Of the variant at this place; forty differ."""
    return Line(COLORS[place % len(COLORS)], list(DASHES)[place // len(COLORS) % len(DASHES)])


def short_labels(variants: Sequence[Variant]) -> list[str]:
    """Labels without what is clear from the columns beside them: the values alone, `gan · kl`.

    Of many varied keys the first few, and the variant's number, which keeps them apart.
    """
    found = []
    for number, variant in enumerate(variants, start=1):
        words = [as_word(value) for value in variant.values.values()]
        if len(words) > MOST_WORDS:
            found.append(f"{number}: {' · '.join(words[:MOST_WORDS])} …")
        else:
            found.append(" · ".join(words) or variant.label)
    return found
