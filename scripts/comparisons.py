"""The comparisons of docs/results, declared as tables of overrides; `scripts/tables.py` runs them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from gantrain.config.checks import experiment_names
from gantrain.config.compose import CONFIGS

Overrides = tuple[str, ...]
Lines = dict[str, Overrides]
"""Overrides of each row or column, by its label."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run of a data set's tables has in common.

    Attributes:
        length: overrides for length and batch size.
        measuring: overrides for the metrics.
        metrics: columns of the tables: key of a run's metric values, and its heading.
        seeds: how many.
        tracked: metrics whose values over training are kept too.
    """

    length: Overrides
    measuring: Overrides
    metrics: dict[str, str]
    seeds: int
    tracked: tuple[str, ...] = ()


BUDGETS = {
    "digits": Budget(
        length=("experiment=demo", "schedule.steps=800", "schedule.batch_size=32"),
        measuring=("metrics.every_steps=400",),
        metrics={"modes_ema": "modes of 1,000", "modes_kl_ema": "KL"},
        seeds=5,
    ),
    "points": Budget(
        length=(),
        measuring=(),
        metrics={"modes_ema": "modes", "high_quality_ema": "high quality", "kl_ema": "KL(q‖p)"},
        seeds=5,
        tracked=("modes", "high_quality", "kl"),
    ),
    "cifar10": Budget(
        length=("schedule.steps=10000",),
        measuring=(
            "metrics.names=[fid,classes]",
            "metrics.samples=50000",
            "metrics.reference_samples=50000",
            "metrics.every_steps=0",
        ),
        metrics={"fid_ema": "FID", "classes_ema": "classes of 10", "classes_kl_ema": "class KL"},
        seeds=3,
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Runs in rows × columns.

    Attributes:
        question: the question that the table answers.
        rows: overrides that differ between rows.
        columns: overrides that differ between columns.
        data: keys of BUDGETS.
        on_request: whether `all` leaves the table out.
        own_length: whether runs have the length of their own configuration, not the budget's.
        left_out: cells (row, column) that would repeat another one.
    """

    question: str
    rows: Lines
    columns: Lines
    data: tuple[str, ...] = ("digits", "cifar10")
    on_request: bool = False
    own_length: bool = False
    left_out: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def cell(self, row: str, column: str) -> Overrides | None:
        """The overrides of a cell; None if it is left out."""
        if (row, column) in self.left_out:
            return None
        return (*self.rows[row], *self.columns[column])

    def cells(self) -> Iterator[Overrides]:
        """The overrides of every cell that is run."""
        for row in self.rows:
            for column in self.columns:
                overrides = self.cell(row, column)
                if overrides is not None:
                    yield overrides


def experiments() -> dict[str, dict[str, str]]:
    """Source and published value of each experiment from the literature, by name."""
    found = {}
    for name in experiment_names():
        path = CONFIGS / "experiment" / f"{name}.yaml"
        family = path.with_name("_pair.yaml")
        files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (family, path) if file.is_file()]
        if paper := {key: text for content in files for key, text in content.get("paper", {}).items()}:
            found[name] = paper
    return found


EXACT = ("loss.rule=exact",)
NORMALIZED = (*EXACT, "loss.normalize_ratio=true")
BATCH_NORM, SPECTRAL_NORM = ("model.d_norm=batch",), ("model.d_norm=spectral",)
NORMS: Lines = {"batch norm in D": BATCH_NORM, "spectral norm in D": SPECTRAL_NORM}


def _pairs() -> Lines:
    """Generators with each rule; alt has no rule, and the three rules of rkl have the same gradient."""
    rules = {"Poole": (), "exact": EXACT, "exact, normalized": NORMALIZED}
    lines: Lines = {"alt": ("loss.gen=alt",), "rkl, any rule": ("loss.gen=rkl",)}
    for gen in ("js", "hellinger", "kl"):
        lines |= {f"{gen}, {rule}": (f"loss.gen={gen}", *words) for rule, words in rules.items()}
    return lines


GENERATORS: Lines = {gen: (f"loss.gen={gen}",) for gen in ("kl", "hellinger", "pearson")}
STABILIZERS: Lines = {
    "Poole's rule": BATCH_NORM,
    "and |log r| within 3": ("loss.max_log_ratio=3", *BATCH_NORM),
    "and label smoothing 0.1": ("loss.label_smoothing=0.1", *BATCH_NORM),
    "and instance noise 0.2": ("tricks.instance_noise=0.2", *BATCH_NORM),
    "and dropout 0.3 in D": ("model.d_dropout=0.3", *BATCH_NORM),
    "and a learning rate of 1e-4 for D": ("optimizer.lr_d=1e-4", *BATCH_NORM),
    "and r normalized": ("loss.normalize_ratio=true", *BATCH_NORM),
    "and spectral norm in D": SPECTRAL_NORM,
    "exact rule": (*EXACT, *BATCH_NORM),
    "exact rule, r normalized (the preset)": (*NORMALIZED, *BATCH_NORM),
    "the preset, spectral norm in D": (*NORMALIZED, *SPECTRAL_NORM),
}

TABLES = {
    "pairs": Table("Which generator objective covers the data, by which rule, against which D?", _pairs(), NORMS),
    "longer": Table(
        "Is what the shorter runs say a matter of speed?",
        {
            "alt": ("loss.gen=alt",),
            "hellinger, exact, normalized": ("loss.gen=hellinger", *NORMALIZED),
            "kl, exact, normalized": ("loss.gen=kl", *NORMALIZED),
        },
        {
            "batch norm in D": (*BATCH_NORM, "schedule.steps=2400"),
            "spectral norm in D": (*SPECTRAL_NORM, "schedule.steps=2400"),
        },
        data=("digits",),
    ),
    "ways": Table(
        "What lets the mode-covering objectives train?",
        STABILIZERS,
        GENERATORS,
        left_out=frozenset((row, "pearson") for row in STABILIZERS if row.startswith("and ")),
    ),
    "constraints": Table(
        "Does a constraint on D help every loss (Kurach et al. 2019, Figure 2)?",
        {
            "non-saturating": ("loss.disc=gan",),
            "least squares": ("loss=lsgan",),
            "Wasserstein": ("loss=wasserstein",),
        },
        {
            "none": ("model.d_norm=none",),
            "spectral norm": SPECTRAL_NORM,
            "gradient penalty": ("model.d_norm=none", "regularizer=gp"),
        },
    ),
    "toys": Table(
        "Which generator objective finds the modes of points in the plane, by which rule?",
        _pairs(),
        {"ring of 8": ("data=ring",), "grid of 25": ("data=grid",)},
        data=("points",),
    ),
    "constrained": Table(
        "And with spectral norm in D?",
        {
            "alt": ("loss.gen=alt",),
            **{f"{gen}, exact, normalized": (f"loss.gen={gen}", *NORMALIZED) for gen in ("js", "hellinger", "kl")},
        },
        {"ring of 8": ("data=ring", *SPECTRAL_NORM)},
        data=("points",),
    ),
    "hinge": Table(
        "Hinge's linear generator, or the non-saturating hinge that Jackson (2021) asks about?",
        {"linear": ("loss=hinge",), "hinge_ns": ("loss=hinge", "loss.gen=hinge_ns")},
        {**NORMS, "no norm in D": ("model.d_norm=none",)},
    ),
    "best": Table(
        "What does the recommended pair reach, and which of its parts help?",
        {
            "best_cnn": ("experiment=best_cnn",),
            "and DiffAugment": ("experiment=best_cnn", "augment=diffaugment"),
            "relativistic, R1 and R2 in place of hinge": (
                "experiment=best_cnn",
                "loss=relativistic",
                "regularizer=r1r2",
                "model.d_norm=none",
            ),
        },
        {"its own length": ()},
        data=("cifar10",),
        own_length=True,
    ),
    "experiments": Table(
        "What does each experiment of the literature reach, at its own length?",
        {name: (f"experiment={name}",) for name in experiments()},
        {"its own length": ()},
        data=("cifar10",),
        on_request=True,
        own_length=True,
    ),
}
