"""The doctor: tells each named condition of a run once, with its evidence and what to change.

It hears one row of figures at a time. A condition is told when it has held over a whole window of rows: what passes
by itself (a discriminator that wins the first steps, a generator that starts from grey) is none.
"""

import math
from dataclasses import dataclass
from typing import Any

from gantrain.diagnostics.conditions import CONDITIONS, LONGEST, READ, Row, Window


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds.

    Attributes:
        name: one of `CONDITIONS`.
        step: the generator step of the row that made it certain.
        evidence: a sentence with figures.
        advice: a sentence with the keys to change.
    """

    name: str
    step: int
    evidence: str
    advice: str

    def words(self) -> str:
        """Evidence and advice."""
        return f"{self.evidence} {self.advice}"


class Doctor:
    """Hears the rows of a run and tells each condition once.

    Attributes:
        told: names of what has been told.
    """

    def __init__(self) -> None:
        """Has heard nothing."""
        self.told: list[str] = []
        self._rows: list[Row] = []

    def hear(self, step: int, values: Row) -> list[Finding]:
        """What the row of figures after `step` generator steps makes certain and has not been told."""
        row: dict[str, float] = {"step": step}
        row |= {name: values[name] for name in READ if name in values and not math.isnan(values[name])}
        self._rows = Window([*self._rows, row], factor=LONGEST).rows
        windows = {factor: Window(self._rows, factor=factor) for factor in range(1, LONGEST + 1)}
        evidence: dict[str, str] = {}
        found = []
        for name, condition in CONDITIONS.items():
            window = windows[condition.patience]
            seen = condition.look_for(window) if window.is_full else None
            if seen is None or any(cause in evidence for cause in condition.explained_by):
                continue
            evidence[name] = seen
            if name not in self.told:
                self.told.append(name)
                words = f"In steps {window.first} to {window.last} {seen}"
                found.append(Finding(name, step, words, condition.advice))
        return found

    def state_dict(self) -> dict[str, Any]:
        """What decides the findings to come."""
        return {"told": list(self.told), "rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.told = list(state["told"])
        self._rows = [dict(row) for row in state["rows"]]
