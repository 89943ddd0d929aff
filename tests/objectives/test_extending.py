"""The divergence of docs/extending.md: once registered, it is everywhere, with nothing else to edit."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure

from gantrain.config import ConfigError, LossConfig
from gantrain.objectives import (
    DIVERGENCES,
    discriminator_names,
    divergence_names,
    generator_choices,
    generator_names,
    make_objective,
    register_divergence,
)
from gantrain.objectives.table import as_markdown, as_text
from gantrain.theory import (
    best_gaussians,
    divergence_curves,
    gradient_map,
    gradient_weights,
    learned_games,
    training_paths,
)
from gantrain.theory.style import style
from tests.conftest import REPOSITORY
from tests.objectives.contract import CONTRACT
from tests.objectives.test_objective import check_pair

NAME = "le_cam_example"


@pytest.fixture
def le_cam() -> Iterator[dict[str, Any]]:
    """Runs the section's blocks, which register the record; their names. Takes the record out again."""
    text = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    section = text.partition("## Add a divergence")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
        exec(block, names)
    yield names
    del DIVERGENCES[NAME]


def test_a_registered_divergence_satisfies_the_contract(le_cam: dict[str, Any]) -> None:
    for check in CONTRACT:
        check(le_cam["LE_CAM"], le_cam["LE_CAM_REFERENCE"])
    check_pair(NAME)


def test_a_registered_divergence_is_a_choice_and_in_every_table(le_cam: dict[str, Any]) -> None:
    for names in (divergence_names(), discriminator_names(), generator_names(), generator_choices()):
        assert NAME in names
    assert str(LossConfig(disc="kl", gen=NAME, rule="exact").make()) == f"disc=kl gen={NAME} rule=exact"
    with pytest.raises(ConfigError, match=rf"loss\.gen='no_such_loss' is unknown; choose one of .*\b{NAME}\b"):
        LossConfig(gen="no_such_loss")
    for table in (as_text(), as_markdown()):
        rows = re.findall(rf"^(?:\| `)?{NAME}\b.*", table, flags=re.MULTILINE)
        assert [le_cam["LE_CAM"].f_formula in row for row in rows] == [False, True]  # discriminator, generator
    with pytest.raises(ValueError, match=f"'{NAME}' exists already"):
        register_divergence(le_cam["LE_CAM"])


@pytest.mark.slow
def test_a_registered_divergence_is_in_every_theory_figure(
    le_cam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_games, "STEPS", 5)
    monkeypatch.setattr(learned_games, "FIRST_D_STEPS", 5)
    monkeypatch.setattr(training_paths, "CONTOURS", (5, 4))
    monkeypatch.setattr(best_gaussians, "ORDERS", np.array([-1, 0, 0.5, 1, 2]))
    monkeypatch.setattr(best_gaussians, "JUMP", np.inf)
    for figure, columns in (
        (divergence_curves.figure(), {"f": "name", "generators": "gen", "ends": "gen"}),
        (best_gaussians.figure(names=("kl", NAME)), {"": "divergence"}),
        (training_paths.figure(names=("kl", NAME), seeds=(0,)), {"": "divergence"}),
        (gradient_weights.figure(), {"": "disc"}),
        (gradient_map.figure(), {"": "disc"}),
    ):
        figure.draw(Figure())
        for key, column in columns.items():
            assert NAME in figure.tables[key][column].tolist(), (figure.name, key)
    assert NAME in training_paths.names_with_paths()
    styles = {(look["color"], str(look["linestyle"])) for look in map(style, DIVERGENCES)}
    assert len(styles) == len(DIVERGENCES)


def test_the_grid_sweeps_every_objective() -> None:
    text = (REPOSITORY / "configs" / "experiment" / "grid_divergences.yaml").read_text(encoding="utf-8")
    swept = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    for key, names in (("loss.disc", discriminator_names()), ("loss.gen", generator_names())):
        missing = set(names) - {"alpha"} - set(swept[key].split(","))
        assert not missing, f"configs/experiment/grid_divergences.yaml: add {', '.join(sorted(missing))} to {key}"
        assert len(swept[key].split(",")) == len(names) - 1


def test_nonsaturating_is_alt() -> None:
    assert str(make_objective(gen="nonsaturating")) == str(make_objective(gen="alt")) == "disc=gan gen=alt"
    assert LossConfig(gen="nonsaturating").gen == "alt"
    v = torch.linspace(-3, 3, 7)
    assert make_objective(gen="nonsaturating").generator_loss(v) == make_objective(gen="alt").generator_loss(v)
