"""The doctor: reports each named failure of a run once, with evidence and advice.

It reads one row of diagnostics at a time. A condition is reported once it has held over a full window of rows, so that
temporary states are ignored, such as a discriminator that wins the first steps or a generator whose first images are
grey.
"""

import math
from dataclasses import dataclass
from typing import Any

from gantrain.diagnostics.conditions import CONDITIONS, MAX_PATIENCE, READ, Row, Window


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds.

    Attributes:
        name: one of `CONDITIONS`.
        step: the generator step of the last row of the window.
        evidence: a sentence with numbers.
        advice: a sentence with the keys to change.
    """

    name: str
    step: int
    evidence: str
    advice: str

    @property
    def text(self) -> str:
        """Evidence and advice."""
        return f"{self.evidence} {self.advice}"


class Doctor:
    """Reads the rows of a run and reports each condition once.

    Attributes:
        reported: names of the conditions reported so far.
    """

    def __init__(self) -> None:
        """Starts without rows."""
        self.reported: list[str] = []
        self._rows: list[Row] = []

    def observe(self, step: int, values: Row) -> list[Finding]:
        """Adds the diagnostics after `step` generator steps; returns conditions that hold and were not reported."""
        row: dict[str, float] = {"step": step}
        row |= {name: values[name] for name in READ if name in values and not math.isnan(values[name])}
        self._rows = Window([*self._rows, row], factor=MAX_PATIENCE).rows
        windows = {factor: Window(self._rows, factor=factor) for factor in range(1, MAX_PATIENCE + 1)}
        holding: set[str] = set()
        findings = []
        for name, condition in CONDITIONS.items():
            window = windows[condition.patience]
            evidence = condition.check(window) if window.is_full else None
            if evidence is None or holding.intersection(condition.explained_by):
                continue
            holding.add(name)
            if name not in self.reported:
                self.reported.append(name)
                text = f"In steps {window.first} to {window.last} {evidence}"
                findings.append(Finding(name, step, text, condition.advice))
        return findings

    def state_dict(self) -> dict[str, Any]:
        """Everything that later findings depend on."""
        return {"reported": list(self.reported), "rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`."""
        self.reported = list(state["reported"])
        self._rows = [dict(row) for row in state["rows"]]
