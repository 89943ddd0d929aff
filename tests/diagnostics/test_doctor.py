"""The doctor's findings on artificial rows, on either side of each threshold."""

import math
import re

import pytest

from gantrain.config import options
from gantrain.diagnostics import conditions as c
from gantrain.diagnostics.conditions import CONDITIONS, READ, ROWS, STEPS
from gantrain.diagnostics.doctor import Doctor, Finding

HEALTHY = {
    "discriminator/rank_accuracy": 0.85,
    "discriminator/surely_right": 1.0,
    "discriminator/surely_wrong": 0.0,
    "similarity/spread": 0.9,
    "similarity/nearest": 0.8,
    "similarity/energy": 0.05,
    "generator_weight/mean": 0.6,
    "generator_weight/saturated": 0.0,
    "generator_gradient/cosine": 0.9,
    "overfitting/logit_trained": 1.0,
    "overfitting/logit_held_out": 0.9,
    "overfitting/logit_generated": -1.0,
    "ratio/typical_E_p[r]": 0.9,
    "ratio/typical_E_q[1/r]": 1.0,
    "log_ratio/real": 1.0,
    "log_ratio/fake": -1.0,
    "logit/real": 1.0,
    "logit/fake": -1.0,
    "logit/generated": -1.0,
}


def observe(rows: list[dict[str, float]], every: int = 50, doctor: Doctor | None = None) -> list[Finding]:
    doctor = doctor or Doctor()
    return [f for k, row in enumerate(rows) for f in doctor.observe((k + 1) * every, {**HEALTHY, **row})]


def names(rows: list[dict[str, float]], every: int = 50) -> list[str]:
    return [finding.name for finding in observe(rows, every)]


CRUSHED = {"generator_weight/saturated": 0.95, "generator_weight/mean": 1e-3, "discriminator/rank_accuracy": 0.99}
DEAD = {"discriminator/rank_accuracy": 0.5, "similarity/energy": 0.4}
ALIKE = {"similarity/spread": 0.05}
WRONG = {"discriminator/surely_right": 0.5, "discriminator/surely_wrong": c.SWINGS + 0.01}
BACK = {"generator_gradient/cosine": c.OVERSHOOTS - 0.01, "similarity/energy": c.FAR_APART + 0.01}
MEMORIZED = {"overfitting/logit_held_out": -0.2}

SIDES = [
    ("dead discriminator", DEAD, {**DEAD, "discriminator/rank_accuracy": c.BLIND + 0.01}),
    ("dead discriminator", DEAD, {**DEAD, "similarity/energy": c.FAR_APART - 0.01}),  # p = q: no difference to learn
    ("crushed generator", CRUSHED, {**CRUSHED, "generator_weight/saturated": c.CRUSHED_SHARE - 0.01}),
    ("crushed generator", CRUSHED, {**CRUSHED, "generator_weight/mean": c.CRUSHED_WEIGHT * 1.01}),
    ("crushed generator", CRUSHED, {**CRUSHED, "discriminator/rank_accuracy": c.WINS - 0.01}),
    ("ratio explosion", {"ratio/typical_E_p[r]": 101.0}, {"ratio/typical_E_p[r]": 99.0}),
    ("ratio explosion", {"ratio/typical_E_p[r]": math.inf}, {"ratio/typical_E_p[r]": math.nan}),
    ("ratio explosion", {"ratio/typical_E_q[1/r]": 101.0}, {"ratio/typical_E_q[1/r]": 99.0}),
    ("ratio explosion", {"log_ratio/real": 41.0}, {"log_ratio/real": 39.0}),
    ("ratio explosion", {"log_ratio/fake": -41.0}, {"log_ratio/fake": -39.0}),
    ("ratio explosion", {"logit/fake": -1.01e4}, {"logit/fake": -9.9e3}),
    ("mode collapse", ALIKE, {"similarity/spread": c.ALIKE + 0.01}),
    ("mode collapse", ALIKE, {**ALIKE, "generator_weight/mean": c.CRUSHED_WEIGHT * 0.9}),
    ("mode collapse", {"similarity/nearest": 0.0}, {"similarity/nearest": c.ALIKE + 0.01}),
    ("overfit discriminator", MEMORIZED, {"overfitting/logit_held_out": 0.1}),  # r_v 0.6 and 0.45
    ("oscillation", WRONG, {**WRONG, "discriminator/surely_wrong": c.SWINGS - 0.01}),
    ("oscillation", WRONG, {**WRONG, "discriminator/surely_right": c.SWINGS - 0.01}),
    ("oscillation", BACK, {**BACK, "generator_gradient/cosine": c.OVERSHOOTS + 0.01}),
    ("oscillation", BACK, {**BACK, "similarity/energy": c.FAR_APART - 0.01}),
]


@pytest.mark.parametrize(("name", "sick", "bearable"), SIDES)
def test_each_condition_is_reported_beyond_its_threshold_only(
    name: str, sick: dict[str, float], bearable: dict[str, float]
) -> None:
    assert names([sick] * 12) == [name]  # once
    assert names([bearable] * 12) == []


def test_nothing_is_reported_for_a_healthy_run_or_without_values() -> None:
    assert names([{}] * 30) == []
    doctor = Doctor()
    assert [f for k in range(30) for f in doctor.observe(50 * k, {})] == []
    assert set(HEALTHY) == set(READ)


@pytest.mark.parametrize(("every", "rows"), [(50, 5), (10, 21), (1000, 5)])
def test_a_condition_must_hold_over_enough_rows_and_steps(every: int, rows: int) -> None:
    assert names([DEAD] * (rows - 1), every) == []
    found = observe([DEAD] * rows, every)
    assert [finding.step for finding in found] == [rows * every]
    assert rows >= ROWS
    assert (rows - 1) * every >= STEPS
    # a healthy row in between restarts the count; the window slides
    assert names([*([DEAD] * (rows - 1)), {}, *([DEAD] * (rows - 1))], every) == []
    assert names([*([{}] * 20), *([DEAD] * rows)], every) == ["dead discriminator"]


def test_growing_diversity_at_the_start_is_not_a_collapse() -> None:
    growing = [{"similarity/spread": 0.01 * 1.15**k} for k in range(12)]
    assert names(growing) == []
    assert names([{"similarity/spread": 0.01 * 1.02**k} for k in range(12)]) == ["mode collapse"]


@pytest.mark.parametrize("cause", [DEAD, CRUSHED, {"ratio/typical_E_p[r]": 1e3}])
def test_a_cause_is_reported_instead_of_its_consequence(cause: dict[str, float]) -> None:
    found = names([{**cause, **ALIKE}] * 20)
    assert len(found) == 1
    assert "mode collapse" not in found
    assert names([{**cause, **ALIKE}] * 9 + [ALIKE] * 10)[1:] == ["mode collapse"]  # the cause is gone


@pytest.mark.parametrize(("period", "reported"), [(1, ["oscillation"]), (2, ["oscillation"]), (6, [])])
def test_a_single_change_is_not_an_oscillation(period: int, reported: list[str]) -> None:
    """D is wrong for some rows, then right, and so on; over 6 rows each, no window of 5 sees more than one turn."""
    right, wrong = {}, {"discriminator/surely_right": 0.0, "discriminator/surely_wrong": 1.0}
    assert names([wrong if k // period % 2 == 0 else right for k in range(18)]) == reported


def test_overfitting_within_noise_is_not_reported() -> None:
    """p = q and D knows nothing: all three logits agree up to noise, and their ratio is anything."""
    noise = [0.3, -0.2, 0.25, -0.3, 0.35, 0.1, -0.25, 0.2]
    rows = [{"overfitting/logit_trained": 0.05, "overfitting/logit_held_out": -x, "overfitting/logit_generated": 0.0}
            for x in noise]  # fmt: skip
    assert names(rows) == []
    assert names([{**row, "overfitting/logit_held_out": 0.01} for row in rows]) == ["overfit discriminator"]


def test_findings_contain_steps_values_and_advice() -> None:
    (finding,) = observe([CRUSHED] * 5)
    assert finding.step == 250
    assert finding.evidence.startswith("In steps 50 to 250 D has won")
    assert "v = -1" in finding.evidence
    assert "95%" in finding.evidence
    assert "mean weight 0.001 to 0.001" in finding.evidence
    assert "loss.gen=alt" in finding.text


def test_advice_names_keys_that_exist() -> None:
    known = {key for key, _, _ in options()}
    sections = {key.split(".")[0] for key in known if "." in key}
    for name, condition in CONDITIONS.items():
        keys = re.findall(rf"\b((?:{'|'.join(sections)})\.[a-z_0-9]+)", condition.advice)
        assert len(keys) >= 2, name
        assert set(keys) <= known, name


def test_a_resumed_doctor_reports_nothing_twice() -> None:
    first = Doctor()
    assert len(observe([DEAD] * 6, doctor=first)) == 1
    second = Doctor()
    second.load_state_dict(first.state_dict())
    assert second.observe(350, {**HEALTHY, **DEAD}) == []
    # and the window is as full as it was
    before, after = Doctor(), Doctor()
    observe([CRUSHED] * 4, doctor=before)
    after.load_state_dict(before.state_dict())
    assert [f.name for f in after.observe(250, {**HEALTHY, **CRUSHED})] == ["crushed generator"]
